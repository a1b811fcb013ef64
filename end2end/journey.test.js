// From nothing to a paid, metered task, as a newcomer does it. The one test that also runs on Postgres
// and with the catalogue `legionis`.

import { amountOf, beginCheckout, CARD, followMail, INPUT, newPerson, openPreview, openTask, pay, payWithCredits, reloadUntil, signIn, signUp, spendable, waitForRun } from './support/person.js';
import { expect, test } from './support/test.js';

const TEN_DOLLARS = 10_000_000_000n;

test('sign up, buy a pack, run a PRD, find it metered @postgres @legionis', async ({ page, sandbox }) => {
  test.slow();
  const person = newPerson('journey');

  await test.step('sign up and verify by mail', async () => {
    await page.goto('/');
    await page.getByRole('link', { name: 'Sign up' }).first().click();
    await page.getByLabel('E-mail').fill(person.email);
    await page.getByLabel('Password').fill(person.password);
    await page.getByRole('button', { name: 'Create the account' }).click();
    await followMail(page, sandbox, person.email, 'Confirm your e-mail');
    await page.getByRole('button', { name: 'Verify my e-mail' }).click();
    await signIn(page, person);
    expect(await spendable(page)).toBe(0n);
  });

  await test.step('buy the $10 pack for $11.50 with 4242', async () => {
    await beginCheckout(page, '$10');
    await expect(page.getByText('$11.50').first()).toBeVisible();
    await pay(page, CARD.good);
    await expect(page).toHaveURL(/\/credits\/bought\//);
    await reloadUntil(page, () =>
      expect(page.getByRole('heading', { level: 1 })).toHaveText('$10.00 of credit arrived', { timeout: 250 }),
    );
    // The frame of the page may have been read a moment before the credit arrived; it follows by itself.
    await expect.poll(() => spendable(page)).toBe(TEN_DOLLARS);
  });

  // A second tab that is left alone: its figure at the top must follow by itself.
  const other = await page.context().newPage();
  await other.goto('/usage');
  expect(await spendable(other)).toBe(TEN_DOLLARS);
  await page.bringToFront();

  await test.step('let credits pay', () => payWithCredits(page));

  const { record, charge } = await test.step('run a PRD through the preview', async () => {
    await openTask(page, 'PRD', INPUT);
    const preview = await openPreview(page);
    await expect(preview).toContainText('at most');
    await expect(preview).toContainText('Paid from: credits · balance $10.00');
    await preview.getByRole('button', { name: 'Execute' }).click();
    await expect(page).toHaveURL(/\/runs\//);
    await expect(page.getByRole('region', { name: 'Output' })).not.toBeEmpty();
    return waitForRun(page);
  });

  await test.step('the balance is down by exactly the shown cost', async () => {
    expect(charge).toBeGreaterThan(0n);
    await page.goto('/credits');
    expect(TEN_DOLLARS - (await spendable(page))).toBe(charge);
    const debit = page.getByRole('table', { name: /Statement/ }).getByRole('row').nth(1);
    expect(-(await amountOf(debit))).toBe(charge);
  });

  await test.step('also at the top of a page that was open all the time', async () => {
    await other.bringToFront();
    await expect.poll(() => spendable(other)).toBe(TEN_DOLLARS - charge);
    await other.close();
  });

  await test.step('and the same cost stands in the usage', async () => {
    await page.goto('/usage');
    const row = page.getByRole('main').getByRole('table').getByRole('row').nth(1);
    await expect(row).toContainText('PRD');
    expect(await amountOf(row)).toBe(charge);
    await row.getByRole('link').first().click();
    await expect(page).toHaveURL(new RegExp(`${record}$`));
  });
});

test('a new user runs a task on the plan, without buying @postgres', async ({ page, sandbox }) => {
  test.slow();
  await signUp(page, sandbox, newPerson('on-the-plan'));
  await openTask(page, 'PRD', INPUT);
  const preview = await openPreview(page);
  await expect(preview).toContainText('Paid from: plan allowance · 100 of 100 left');
  await preview.getByRole('button', { name: 'Execute' }).click();
  const { record, charge } = await waitForRun(page);
  expect(charge).toBe(0n);
  await expect(page.getByRole('region', { name: 'What it cost' })).toContainText('paid from plan allowance · list price $0.');

  await test.step('it is counted, metered, and nothing was charged', async () => {
    expect(await spendable(page)).toBe(0n);
    await page.goto('/limits');
    await expect(page.getByText('99 of 100 left')).toBeVisible();
    await page.goto(record);
    await expect(page.getByText('plan allowance')).toBeVisible();
  });

  await test.step('a trial pays before the plan, for its model', async () => {
    await page.goto('/limits');
    await expect(page.getByText('nothing can be charged')).toBeVisible();
    await page.getByRole('button', { name: 'Start the 14-day trial' }).click();
    await expect(page.getByText('Your trial is running')).toBeVisible();
    await openTask(page, 'User story', INPUT);
    await expect(await openPreview(page)).toContainText('Paid from: trial credit · $5.00');
  });
});
