// Plans in the browser: subscribe, grow, shrink, end, and a renewal that is not paid. Each person is new, so that nobody
// else's clock or card is in the way; the renewals run on a demo of their own, whose clock is moved.

import { expect, test } from './support/test.js';
import { startDemo } from './support/demos.js';
import { CARD, newPerson, reloadUntil, signUp } from './support/person.js';

const heading = (page) => page.getByRole('heading', { level: 1 });

// Pays on the hosted page and waits until the plan has begun.
async function subscribe(page, plan, { card = CARD.good, seats } = {}) {
  await page.goto('/plan');
  await page.getByRole('radio', { name: new RegExp(`^${plan}`) }).check();
  if (seats) await page.getByRole('spinbutton', { name: 'Seats' }).fill(String(seats));
  await page.getByRole('button', { name: 'Continue to payment' }).click();
  await expect(heading(page)).toHaveText('Pay');
  await page.getByLabel('Card number').fill(card);
  await page.getByLabel('Expiry').fill('12/49');
  await page.getByLabel('CVC').fill('123');
  await page.getByLabel('Name on card').fill('A Person');
  await page.getByRole('button', { name: /^Pay .* and subscribe$/ }).click();
  await expect(page).toHaveURL(/\/plan\?subscribed=/);
  await reloadUntil(page, () => expect(heading(page)).toContainText(plan, { timeout: 250 }));
}

test('subscribe, upgrade with the price first, add a seat, take less, end and resume', async ({ page, sandbox }) => {
  await signUp(page, sandbox, newPerson('plan'));
  await page.goto('/plan');
  await expect(heading(page)).toHaveText('Plan: Free');
  await subscribe(page, 'Pro');
  await expect(page.getByRole('region', { name: 'What you have' })).toContainText('$9.00');
  await expect(page.getByRole('row', { name: /Pro .*Paid.*\$9\.00/ })).toBeVisible();

  await page.getByRole('radio', { name: /^Team/ }).check();
  await page.getByRole('spinbutton', { name: 'Seats' }).fill('2');
  await page.getByRole('button', { name: 'See what the change costs' }).click();
  await expect(page).toHaveURL(/\/plan\/change\//);
  // A whole month has just begun: $58.00 for Team less $9.00 for Pro.
  await expect(heading(page)).toHaveText('$49.00 now');
  await page.getByRole('button', { name: 'Change now and pay $49.00' }).click();
  await expect(heading(page)).toHaveText('Plan: Team, 2 seats');
  await expect(page.getByText('Your plan was changed.')).toBeVisible();

  await page.getByRole('spinbutton', { name: 'Seats' }).fill('3');
  await page.getByRole('button', { name: 'See what the change costs' }).click();
  await expect(heading(page)).toHaveText('$29.00 now');
  await page.getByRole('button', { name: /^Change now and pay/ }).click();
  await expect(heading(page)).toHaveText('Plan: Team, 3 seats');

  await page.getByRole('radio', { name: /^Pro/ }).check();
  await page.getByRole('button', { name: 'See what the change costs' }).click();
  await expect(heading(page)).toContainText('Nothing changes until');
  await expect(page.getByRole('region', { name: 'What you will have less of' })).toContainText('5,000 executions a month instead of 75,000');
  await page.getByRole('button', { name: /^Change on/ }).click();
  await expect(heading(page)).toHaveText('Plan: Team, 3 seats');
  await expect(page.getByText(/on: Pro\. Until then nothing changes\./)).toBeVisible();

  await page.getByRole('button', { name: /^End the plan on/ }).click();
  await expect(page.getByText(/It ends on .* and becomes the free plan/)).toBeVisible();
  await page.getByRole('button', { name: 'Resume the plan' }).click();
  await expect(page.getByText('Your plan goes on.')).toBeVisible();
});

test('own keys need a key that works, and seats cover the members', async ({ page, sandbox }) => {
  await signUp(page, sandbox, newPerson('keys'));
  await page.goto('/plan?to=team&mode=byok&seats=2');
  await expect(page.getByRole('radio', { name: /^Team/ })).toBeChecked();
  await expect(page.getByRole('radio', { name: /^Your own keys/ })).toBeChecked();
  await page.getByRole('button', { name: 'Continue to payment' }).click();
  await expect(page.getByText(/needs at least one provider key that works/)).toBeVisible();
  await page.getByRole('radio', { name: /^Our keys/ }).check();
  await page.getByRole('spinbutton', { name: 'Seats' }).fill('0');
  await page.getByRole('button', { name: 'Continue to payment' }).click();
  await expect(page.getByRole('spinbutton', { name: 'Seats' })).toHaveAttribute('aria-invalid', 'true');
});

test('a renewal that is declined: banner, another card, paid', async ({ browser }) => {
  test.setTimeout(120_000);
  const end = await startDemo('dunning');
  const [demo, sandbox] = [process.env.DUNNING_DEMO, process.env.DUNNING_SANDBOX];
  const context = await browser.newContext({ baseURL: demo });
  const page = await context.newPage();
  try {
    await signUp(page, sandbox, newPerson('dunning'));
    await subscribe(page, 'Pro', { card: '4000 0000 0000 0341' });
    const moved = await page.request.post(`${sandbox}/control/clock`, { data: { advance_seconds: 32 * 86_400 } });
    expect(moved.ok()).toBe(true);
    await page.goto('/overview');
    const banner = page.getByRole('complementary', { name: 'Payment' });
    await reloadUntil(page, () => expect(banner).toBeVisible({ timeout: 250 }));
    await banner.getByRole('link').click();
    await expect(page.getByText(/A payment is missing\. The plan stays until/)).toBeVisible();

    await page.getByRole('button', { name: 'Change card or address' }).click();
    await expect(heading(page)).toHaveText('Billing portal');
    await page.getByLabel('Card number').fill(CARD.good);
    await page.getByLabel('Expiry').fill('12/49');
    await page.getByLabel('CVC').fill('123');
    await page.getByLabel('Name on card').fill('A Person');
    await page.getByRole('button', { name: 'Save card' }).click();
    await page.getByRole('link', { name: 'Return' }).click();
    await page.getByRole('button', { name: 'Pay what is open now' }).click();
    await expect(page.getByText('Thank you, everything is paid.')).toBeVisible();
    await expect(banner).toBeHidden();
  } finally {
    await context.close();
    await end();
  }
});
