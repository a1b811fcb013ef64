// Money that goes back, in the browser: buy, spend a little, refund the rest, see the statement; and the frozen account
// after a dispute, which a won one releases.

import { amountOf, buyPack, newPerson, payWithCredits, reloadUntil, runTask, signUp, spendable } from './support/person.js';
import { expect, test } from './support/test.js';

async function control(sandbox, path, body) {
  const answer = await fetch(`${sandbox}/control/${path}`, {
    method: body ? 'POST' : 'GET',
    headers: { 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  return answer.json();
}

// The payment that was made last by somebody with this address.
async function lastPayment(sandbox, email) {
  const events = await control(sandbox, 'events');
  const paid = events.filter((event) => event.type === 'payment_intent.succeeded').map((event) => event.data.object);
  const customers = events.filter((event) => event.type === 'customer.created').map((event) => event.data.object);
  const customer = customers.find((known) => known.email === email).id;
  return paid.filter((payment) => payment.customer === customer).at(-1).id;
}

test('unused credit goes back to the card, and the statement says so @postgres', async ({ page, sandbox }) => {
  test.slow();
  await signUp(page, sandbox, newPerson('refund'));
  await buyPack(page, '$50');
  await payWithCredits(page);
  await runTask(page, 'PRD');
  await page.goto('/credits');
  const left = await spendable(page);

  await page.getByRole('link', { name: 'go back to your card' }).click();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Refund unused credit');
  await expect(page.getByText('Stripe does not give back what it kept of a payment (2.9 % and $0.30)')).toBeVisible();

  // A part of it first: exactly what was asked for.
  await page.getByLabel('How much should arrive on the card').fill('20');
  await page.getByRole('button', { name: 'Show what goes back' }).click();
  await page.getByRole('button', { name: 'Refund $20.00 to your card' }).click();
  const refunds = page.getByRole('region', { name: 'Refunds, newest first' });
  await reloadUntil(page, () =>
    expect(refunds.getByRole('row').filter({ hasText: '$20.00' })).toContainText('Sent to your card', { timeout: 250 }),
  );
  const after = await spendable(page);
  expect(after).toBeLessThan(left);

  // More than there is, and no number.
  await page.getByLabel('How much should arrive on the card').fill('500');
  await page.getByRole('button', { name: 'Show what goes back' }).click();
  await expect(page.getByText('is more than can be refunded')).toBeVisible();

  // Then the rest.
  await page.goto('/credits/refund');
  await page.getByRole('button', { name: /^Refund \$\d+\.\d\d to your card$/ }).click();
  await reloadUntil(page, () => expect(refunds.getByText('Sent to your card')).toHaveCount(2, { timeout: 250 }));
  await expect(page.getByText('There is nothing to refund')).toBeVisible();
  expect(await spendable(page)).toBe(0n);

  await page.goto('/credits/statement?kind=refund');
  const statement = page.getByRole('region', { name: 'Statement, newest first' });
  await expect(statement.getByRole('row').filter({ hasText: 'to your card' })).toHaveCount(2);
  await expect(statement.getByRole('row').nth(1)).toContainText('$0.00');
});

test('a disputed payment freezes the account, and a won dispute releases it', async ({ page, sandbox }) => {
  const person = newPerson('dispute');
  await signUp(page, sandbox, person);
  await buyPack(page, '$10');
  const { id } = await control(sandbox, 'dispute', { payment_intent: await lastPayment(sandbox, person.email) });
  await expect(async () => {
    await page.goto('/credits');
    await expect(page.getByText('This account is frozen')).toBeVisible({ timeout: 500 });
  }).toPass();
  await expect(page.getByText('a payment is disputed with the bank')).toBeVisible();
  await expect(page.getByText('It is lifted when the bank has decided.')).toBeVisible();
  expect(await spendable(page)).toBe(0n);
  await page.getByRole('button', { name: /^Buy \$10 pack/ }).click();
  await expect(page.getByRole('alert').filter({ hasText: 'This account is frozen' }).first()).toBeVisible();

  await control(sandbox, 'dispute-state', { id, state: 'won' });
  await expect(async () => {
    await page.goto('/credits');
    await expect(page.getByText('This account is frozen')).toBeHidden({ timeout: 500 });
    expect(await spendable(page)).toBe(10_000_000_000n);
  }).toPass();
});

test.describe('without JavaScript', () => {
  test.use({ javaScriptEnabled: false });

  test('credit is refunded', async ({ page, sandbox }) => {
    await signUp(page, sandbox, newPerson('refund-plain'));
    await buyPack(page, '$10');
    await page.goto('/credits/refund');
    const row = page.getByRole('row').filter({ hasText: 'Together' });
    expect(await amountOf(row)).toBeGreaterThan(0n);
    await page.getByRole('button', { name: 'Refund $10.87 to your card' }).click();
    await reloadUntil(page, () => expect(page.getByText('Sent to your card')).toBeVisible({ timeout: 250 }));
    expect(await spendable(page)).toBe(0n);
  });
});
