// The same with JavaScript switched off: every page works without it first.

import { buyPack, newPerson, payWithCredits, runTask, signUp, spendable } from './support/person.js';
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

test('colours are chosen without JavaScript and kept', async ({ page }) => {
  await page.goto('/');
  await page.getByLabel('Colours').click();
  await page.getByRole('button', { name: 'Dark' }).click();
  await expect(page.locator('html')).toHaveAttribute('data-theme', 'dark');
  await page.goto('/sign-in');
  await expect(page.locator('html')).toHaveAttribute('data-theme', 'dark');
});
