// The prices without JavaScript: the switch of keys in place, seats by a form, the calculator, and what a signed-in person
// is offered.

import { expect, test } from './support/test.js';

test.use({ javaScriptEnabled: false });

const plan = (page, name) => page.getByRole('region', { name, exact: true });

test('the switch changes the prices in place, and the address remembers them', async ({ page }) => {
  await page.goto('/pricing');
  await expect(plan(page, 'Pro')).toContainText('$9');
  await expect(plan(page, 'Pro')).toContainText('$5 with your keys, 44 % less');
  await expect(plan(page, 'Team')).toContainText('$19 with your keys, 34 % less');
  await expect(page.getByRole('link', { name: 'Choose Pro' })).toHaveAttribute('href', '/plan?to=pro&mode=standard&seats=1');

  await page.getByRole('radio', { name: /Your keys/ }).check();
  await expect(page).toHaveURL(/\/pricing$/);
  await expect(plan(page, 'Pro').getByText('44 % less than $9 on our keys')).toBeVisible();
  await expect(plan(page, 'Pro').getByText('$5 with your keys')).toBeHidden();
  await expect(page.getByRole('link', { name: 'Choose Pro' })).toHaveAttribute('href', '/plan?to=pro&mode=byok&seats=1');

  await page.getByLabel('Seats').fill('4');
  await page.getByRole('button', { name: 'Show prices' }).click();
  await expect(page).toHaveURL(/mode=byok&seats=4/);
  await expect(plan(page, 'Team').getByText('$76.00 a month for 4 seats')).toBeVisible();
  await expect(page.getByRole('link', { name: 'Choose Team' })).toHaveAttribute('href', '/plan?to=team&mode=byok&seats=4');
});

test('the arrow keys move the switch', async ({ page }) => {
  await page.goto('/pricing');
  await page.getByRole('radio', { name: 'Our keys', exact: true }).focus();
  await page.keyboard.press('ArrowRight');
  await expect(page.getByRole('radio', { name: /Your keys/ })).toBeChecked();
  await expect(plan(page, 'Pro').getByText('44 % less than $9 on our keys')).toBeVisible();
});

test('packs, rates and limits say what they cost', async ({ page }) => {
  await page.goto('/pricing');
  await expect(page.getByRole('heading', { name: '1 credit dollar = 1 provider dollar; 15 % once, at purchase' })).toBeVisible();
  const packs = page.getByRole('table', { name: 'Credit packs' });
  await expect(packs.getByRole('row').nth(3)).toHaveText('$50 pack$57.50$5.00$55.004.5 %');
  const rates = page.getByRole('table', { name: 'Rates of every model' });
  await expect(rates.getByRole('row', { name: /Sonnet 4.5/ })).toContainText('$3.00$15.00');
  const limits = page.getByRole('table', { name: 'Limits of every plan' });
  await expect(limits.getByRole('row', { name: 'Slowed down' })).toHaveText(/NeverTo 1 a minute after 3,000To 1 a minute after 15,000 a seatNever/);
});

test('the calculator answers by its address', async ({ page }) => {
  await page.goto('/pricing');
  await page.getByRole('link', { name: 'What would I pay?' }).click();
  await expect(page.getByRole('heading', { name: 'Our keys are $9.15 a month cheaper' })).toBeVisible();
  await page.getByRole('link', { name: /Strategic leader/ }).click();
  const ours = page.getByRole('region', { name: 'Result' }).or(page.locator('#result'));
  await expect(ours).toContainText('Credit of $36.75 for the rest');
  await expect(ours).toContainText('Effective markup 4.5 %');

  await page.getByLabel('Plan', { exact: true }).selectOption('team');
  await page.getByLabel('People').fill('3');
  await page.getByLabel('PRD (standard)').fill('200');
  await page.getByRole('button', { name: 'Work it out' }).click();
  await expect(page).toHaveURL(/plan=team&seats=3.*run-prd=200/);
  await expect(page.getByRole('table', { name: 'Runs of a month' }).getByRole('row', { name: /PRD/ })).toContainText('600');
  await expect(ours).toContainText('Team plan, 3 seats');
  await page.getByText('Show as a table').click();
  await expect(page.getByRole('table', { name: /What a month costs/ }).getByRole('row')).toHaveCount(26);
});

test('a number that makes no sense is told beside its field', async ({ page }) => {
  await page.goto('/pricing/calculator?plan=pro&run-prd=minus&run-user-story=10');
  await expect(page.getByLabel('PRD (standard)')).toHaveAttribute('aria-invalid', 'true');
  await expect(page.getByText('Counted as none: give a whole number of runs.')).toBeVisible();
});

test('numbers past all measure have an answer, and the address is the answer', async ({ page }) => {
  await page.goto('/pricing/calculator?plan=team&seats=10000&run-prd=100000&run-plt-gateway=100000&run-strategic-bet=1000000000000');
  await expect(page.getByText('Counted as 1000: for more, write to us.')).toBeVisible();
  await expect(page.getByText('Counted as none: more than 100000 are not worked out here.')).toBeVisible();
  await expect(page.locator('#result')).toContainText('Team plan, 1000 seats');
  await expect(page.locator('#result')).not.toContainText('−');
  await page.goto('/pricing/calculator?plan=team&seats=0&run-prd=10');
  await expect(page.getByLabel('People')).toHaveAttribute('aria-invalid', 'true');
  await expect(page.locator('#result')).toContainText('Team plan');
  // The table of the chart opens by the keyboard.
  await page.getByText('Show as a table').focus();
  await page.keyboard.press('Enter');
  await expect(page.getByRole('table', { name: /What a month costs/ })).toBeVisible();
});

test('the terms say how credit works', async ({ page }) => {
  await page.goto('/');
  await page.getByRole('link', { name: 'Terms' }).click();
  for (const text of [
    "dollar value applied at the provider's current list rates, plus a fee of 15 % that is taken once, when you buy",
    'Rates may change',
    'Credit that you bought never expires.',
    'newest purchase first',
    'the account is frozen until it is settled',
  ]) {
    await expect(page.getByText(text).first()).toBeVisible();
  }
});

test.describe('signed in', () => {
  test.use({ storageState: async ({ newcomer }, use) => use(newcomer.state) });

  test('the plan one has is marked', async ({ page }) => {
    await page.goto('/pricing');
    await expect(plan(page, 'Free')).toContainText('Your plan');
    await expect(page.getByRole('link', { name: 'Manage your plan' })).toHaveAttribute('href', '/plan');
    await expect(page.getByRole('link', { name: 'Choose Team' })).toBeVisible();
  });
});
