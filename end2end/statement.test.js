// The statement: every line opens, filters stand in the address, a month is a file that says the same, and a code gives credit.
// With JavaScript and without.

import { readFileSync } from 'node:fs';
import { tokenbank } from './support/command.js';
import { amountOf, buyPack, nanos, newPerson, payWithCredits, runTask, signUp, spendable } from './support/person.js';
import { expect, test } from './support/test.js';

const lines = (page) => page.getByRole('table', { name: /Statement/ }).getByRole('row');

for (const javaScriptEnabled of [true, false]) {
  test.describe(javaScriptEnabled ? 'with JavaScript' : 'without JavaScript', () => {
    test.use({ javaScriptEnabled });

    test('a debit opens to its tokens and its credit, filters narrow, files agree', async ({ page, sandbox }) => {
      test.slow();
      await signUp(page, sandbox, newPerson('statement'));
      await page.goto('/credits/statement');
      await expect(page.getByText('Nothing on the statement yet')).toBeVisible();
      await buyPack(page, '$10');
      await payWithCredits(page);
      const { charge } = await runTask(page, 'PRD');

      await test.step('every line with its balance', async () => {
        await page.goto('/credits');
        await page.getByRole('link', { name: 'All of it, with PDF and CSV' }).click();
        await expect(page.getByRole('heading', { level: 1 })).toHaveText('Statement');
        await expect(lines(page)).toHaveCount(3);
        expect(-(await amountOf(lines(page).nth(1)))).toBe(charge);
      });

      await test.step('the debit opens', async () => {
        await lines(page).nth(1).getByRole('link').click();
        await expect(page).toHaveURL(/\/credits\/statement\/line\//);
        await expect(page.getByRole('table', { name: 'How the cost was worked out' })).toContainText('Input');
        await expect(page.getByText(/Rate version/)).toBeVisible();
        const paid = page.getByRole('table', { name: 'The credit that it came from or went to' }).getByRole('row').nth(1);
        await expect(paid).toContainText('Bought credit');
        expect(-(await amountOf(paid))).toBe(charge);
        await page.getByRole('link', { name: 'The whole run' }).click();
        await expect(page).toHaveURL(/\/usage\//);
      });

      await test.step('filters stand in the address', async () => {
        await page.goto('/credits/statement');
        await page.getByRole('link', { name: 'Purchases' }).click();
        await expect(page).toHaveURL(/kind=purchase/);
        await expect(lines(page)).toHaveCount(2);
        await page.getByRole('link', { name: 'Set aside' }).click();
        await expect(lines(page).nth(1)).toContainText('Set aside: $');
        await page.getByRole('link', { name: 'Everything', exact: true }).click();
        await page.getByLabel('First day').fill('2020-01-01');
        await page.getByLabel('Last day').fill('2020-01-31');
        await page.getByRole('button', { name: 'Show these' }).click();
        await expect(page.getByText('Nothing fits')).toBeVisible();
        await page.getByRole('link', { name: 'Show everything' }).click();
        await expect(lines(page)).toHaveCount(3);
      });

      await test.step('the balance at a moment', async () => {
        await page.getByLabel(/^Date and time/).fill('2020-01-01T00:00');
        await page.getByRole('button', { name: 'Show the balance' }).click();
        expect(await amountOf(page.getByRole('status'))).toBe(0n);
        await page.getByLabel(/^Date and time/).fill('2099-01-01T00:00');
        await page.getByRole('button', { name: 'Show the balance' }).click();
        expect(await amountOf(page.getByRole('status'))).toBe(await spendable(page));
      });

      await test.step('the month as CSV and PDF', async () => {
        const take = async (kind) => {
          const waiting = page.waitForEvent('download');
          await page.getByRole('link', { name: new RegExp(`as ${kind}$`) }).nth(1).click();
          return readFileSync(await (await waiting).path());
        };
        const rows = (await take('CSV')).toString('utf8').trim().split('\r\n');
        const debit = rows.find((row) => row.includes(',debit,')).split(',');
        expect(nanos(`-$${debit.at(-9).replace('-', '')}`)).toBe(-charge);
        expect(rows.at(-1)).toContain('closing_balance');
        const pdf = await take('PDF');
        expect(pdf.subarray(0, 5).toString()).toBe('%PDF-');
        expect(pdf.length).toBeGreaterThan(10_000);
      });
    });

    test('a code gives credit once, and says why not', async ({ page, sandbox }) => {
      await signUp(page, sandbox, newPerson('code'));
      const code = tokenbank('code', 'create', '--kind', 'promotional', '--amount', '2.50', '--credit-days', '30');
      await page.goto('/credits');
      await page.getByLabel('Gift or promotional code').fill('TB-0000-0000-0000-0000');
      await page.getByRole('button', { name: 'Use the code' }).click();
      await expect(page.getByText('There is no such code')).toBeVisible();
      await page.getByLabel('Gift or promotional code').fill(code.toLowerCase());
      await page.getByRole('button', { name: 'Use the code' }).click();
      await expect(page.getByText('The code counted')).toBeVisible();
      expect(await spendable(page)).toBe(2_500_000_000n);
      await expect(page.getByText(/of promotional credit expires on/)).toBeVisible();

      await page.getByLabel('Gift or promotional code').fill(code);
      await page.getByRole('button', { name: 'Use the code' }).click();
      await expect(page.getByText('You have used this code')).toBeVisible();
      await page.goto('/credits/statement?kind=promotional');
      await expect(lines(page).nth(1)).toContainText('Promotional credit');
      await page.goto('/credits');
      await expect(page.getByText(/of promotional credit expires on/)).toBeVisible();
    });
  });
}

test('a dollar is explained on every model', async ({ page, sandbox }) => {
  await signUp(page, sandbox, newPerson('explained'));
  await page.goto('/credits');
  await page.getByRole('link', { name: 'What a dollar buys' }).click();
  const sonnet = page.getByRole('region', { name: 'Claude Sonnet 4.5', exact: true });
  await expect(sonnet).toContainText('333,333 tokens of input, or 66,666 tokens of output');
  await expect(sonnet.getByRole('row', { name: /PRD.*its usual model/ })).toContainText('9.5');
});
