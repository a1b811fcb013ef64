// The same with JavaScript switched off: every page works without it first.

import { buyPack, newPerson, runTask, signUp, spendable } from './support/person.js';
import { expect, test } from './support/test.js';

test.use({ javaScriptEnabled: false });

test('sign up, buy a pack and run a PRD without JavaScript', async ({ page, sandbox }) => {
  test.slow();
  await signUp(page, sandbox, newPerson('plain'));
  await buyPack(page, '$10');
  const before = await spendable(page);

  const { charge } = await runTask(page, 'PRD');

  await page.goto('/credits');
  expect(before - (await spendable(page))).toBe(charge);
});

test('colours are chosen without JavaScript and kept', async ({ page }) => {
  await page.goto('/');
  await page.getByLabel('Colours').click();
  await page.getByRole('button', { name: 'Dark' }).click();
  await expect(page.locator('html')).toHaveAttribute('data-theme', 'dark');
  await page.goto('/sign-in');
  await expect(page.locator('html')).toHaveAttribute('data-theme', 'dark');
});
