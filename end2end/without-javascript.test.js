// The same with JavaScript switched off: every page works without it first.

import { CARD, buyPack, newPerson, payWithCredits, reloadUntil, runTask, signUp, spendable } from './support/person.js';
import { expect, test } from './support/test.js';

test.use({ javaScriptEnabled: false });

test('sign up, buy a pack and run a PRD without JavaScript', async ({ page, sandbox }) => {
  test.slow();
  await signUp(page, sandbox, newPerson('plain'));
  await buyPack(page, '$10');
  await payWithCredits(page);
  const before = await spendable(page);

  const { charge } = await runTask(page, 'PRD');

  await page.goto('/credits');
  expect(before - (await spendable(page))).toBe(charge);
});

test('the plan pays for a first task, and a trial is begun, without JavaScript', async ({ page, sandbox }) => {
  await signUp(page, sandbox, newPerson('plain-plan'));
  const { charge } = await runTask(page, 'User story');
  expect(charge).toBe(0n);
  await page.goto('/limits');
  await expect(page.getByText('99 of 100 left')).toBeVisible();
  await page.getByRole('button', { name: 'Start the 14-day trial' }).click();
  await expect(page.getByText('Your trial is running')).toBeVisible();
  expect(await spendable(page)).toBe(5_000_000_000n);
});

test('auto-top-up is turned on, buys what was announced, and is turned off, without JavaScript', async ({ page, sandbox }) => {
  await signUp(page, sandbox, newPerson('plain-top-up'));
  await buyPack(page, '$10');
  await page.goto('/credits/auto-top-up');
  const state = page.getByRole('status').first();
  await expect(state).toContainText('Off');

  // Without the tick nothing is saved, and the page says so beside it.
  await page.getByRole('button', { name: 'Turn on: leave a card' }).click();
  await expect(page.getByText('was not ticked')).toBeVisible();
  await page.getByRole('checkbox', { name: /^I agree that Stripe keeps the card/ }).check();
  await page.getByRole('button', { name: 'Turn on: leave a card' }).click();
  await page.getByLabel('Card number').fill(CARD.good);
  await page.getByLabel('Expiry').fill('12/49');
  await page.getByLabel('CVC').fill('123');
  await page.getByLabel('Name on card').fill('A Person');
  await page.getByRole('button', { name: 'Save card' }).click();
  await expect(page).toHaveURL(/auto-top-up\?card=/);
  await expect(state).toContainText('On');

  // $10.00 is under $10.01 once the pack is larger: what is charged now is said first, and only then done.
  await page.getByLabel('When the balance falls under ($)').fill('10.01');
  await page.getByLabel('Buy', { exact: true }).selectOption({ label: '$25 pack for $28.75' });
  await page.getByRole('checkbox', { name: /^I agree that Stripe keeps the card/ }).check();
  await page.getByRole('button', { name: 'Save and renew the consent' }).click();
  await expect(page.getByText('You will be charged $28.75 now.')).toBeVisible();
  expect(await spendable(page)).toBe(10_000_000_000n);
  await page.getByRole('button', { name: 'Turn on and pay $28.75 now' }).click();
  await reloadUntil(page, async () => expect(await spendable(page)).toBe(35_000_000_000n));
  await expect(page.getByRole('region', { name: 'Charges', exact: true })).toContainText('$28.75 of $100.00');

  await page.getByRole('button', { name: 'Turn off' }).click();
  await expect(state).toContainText('Off');
});

test('colours are chosen without JavaScript and kept', async ({ page }) => {
  await page.goto('/');
  await page.getByLabel('Colours').click();
  await page.getByRole('button', { name: 'Dark' }).click();
  await expect(page.locator('html')).toHaveAttribute('data-theme', 'dark');
  await page.goto('/sign-in');
  await expect(page.locator('html')).toHaveAttribute('data-theme', 'dark');
});
