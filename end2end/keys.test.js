// Own keys in the browser: saved after a check at the provider, refused when the provider refuses them, used by runs, deleted.

import { amountOf, INPUT, newPerson, openPreview, openTask, signUp, spendable, waitForRun } from './support/person.js';
import { expect, test } from './support/test.js';

// The sandbox reads from a key's text how it stands.
const KEY = {
  good: 'sk-ant-api03-quiet-river-patient-otter-0001-AbCd',
  refused: 'sk-ant-api03-invalid-river-patient-otter-0002-EfGh',
  broke: 'sk-proj-nocredit-river-patient-otter-0003-IjKl',
};

async function save(page, provider, secret, label = '') {
  await page.goto('/keys');
  await page.getByLabel('Provider', { exact: true }).selectOption({ label: provider });
  await page.getByLabel('Key', { exact: true }).fill(secret);
  await page.getByLabel('Label', { exact: true }).first().fill(label);
  await page.getByRole('button', { name: 'Check and save' }).click();
}

const row = (page, provider) => page.getByRole('listitem').filter({ has: page.getByRole('heading', { name: provider, exact: true }) });

test('a key is checked, kept out of sight, pays for a run, and is deleted', async ({ page, sandbox }) => {
  await signUp(page, sandbox, newPerson('keys-run'));

  await save(page, 'Anthropic', KEY.refused, 'Of the office');
  await expect(page.getByText('Anthropic refuses this key')).toBeVisible();
  await expect(page.getByLabel('Label', { exact: true }).first()).toHaveValue('Of the office');
  expect(await page.content()).not.toContain(KEY.refused);
  await expect(row(page, 'Anthropic')).toContainText('No key');

  await save(page, 'Anthropic', KEY.good, 'Of the office');
  await expect(page.getByText('The key is saved.')).toBeVisible();
  await expect(row(page, 'Anthropic')).toContainText('Of the office');
  await expect(row(page, 'Anthropic')).toContainText('AbCd');
  await expect(row(page, 'Anthropic')).toContainText('Works');
  expect(await page.content()).not.toContain(KEY.good);

  await openTask(page, 'PRD', INPUT);
  const preview = await openPreview(page);
  await expect(preview).toContainText('your own key');
  await preview.getByRole('button', { name: 'Execute' }).click();
  const { record, charge } = await waitForRun(page);
  expect(charge).toBe(0n);
  expect(await spendable(page)).toBe(0n);
  await page.goto(record);
  await expect(page.getByText('your own key')).toBeVisible();
  const cost = page.getByRole('row', { name: /list cost/ });
  expect(await amountOf(cost)).toBeGreaterThan(0n);

  await page.goto('/keys');
  await row(page, 'Anthropic').getByText('Change', { exact: true }).click();
  await row(page, 'Anthropic').getByRole('button', { name: 'Delete the key' }).click();
  await expect(page.getByText('The key is deleted.')).toBeVisible();
  await expect(row(page, 'Anthropic')).toContainText('No key');
});

test.describe('without JavaScript', () => {
  test.use({ javaScriptEnabled: false });

  test('rules say whose key pays, and a line says what the next run will use', async ({ page, sandbox }) => {
    await signUp(page, sandbox, newPerson('keys-rules'));
    await page.goto('/keys');
    const line = page.getByText(/^Claude 3\.5 Haiku: this run will use/);
    const rule = page.getByLabel('Whose key pays: Anthropic, Fast');
    const saveRules = () => page.getByRole('button', { name: 'Save the rules' }).click();
    await expect(line).toContainText('our key, paid from your plan or credits');

    await rule.selectOption({ label: 'My key alone' });
    await saveRules();
    await expect(page.getByText('The rules are saved.')).toBeVisible();
    await expect(line).toContainText('nothing, for no key of yours works and nothing may pay instead');

    await rule.selectOption({ label: 'My key, then Tokenbank' });
    await saveRules();
    await expect(page.getByText(/Letting Tokenbank pay needs an amount of dollars/)).toBeVisible();
    await rule.selectOption({ label: 'My key, then Tokenbank' });
    await page.getByLabel('What Tokenbank may pay in a month, in dollars: Anthropic, Fast').fill('5');
    await saveRules();
    await expect(line).toContainText('our key in place of yours, up to $5.00 more this month');
    await save(page, 'Anthropic', KEY.good, 'Mine');
    await expect(line).toContainText('your key “Mine” (sk-…AbCd)');
  });

  test('a key without credit is saved and says so, and can be switched off and replaced', async ({ page, sandbox }) => {
    await signUp(page, sandbox, newPerson('keys-plain'));
    await save(page, 'OpenAI', KEY.broke, 'Mine');
    await expect(page.getByText('The key is saved.')).toBeVisible();
    await row(page, 'OpenAI').getByText('Change', { exact: true }).click();
    await row(page, 'OpenAI').getByLabel('Use it').uncheck();
    await row(page, 'OpenAI').getByRole('button', { name: 'Save the change' }).click();
    await expect(row(page, 'OpenAI')).toContainText('Switched off');

    await row(page, 'OpenAI').getByText('Change', { exact: true }).click();
    await row(page, 'OpenAI').getByLabel('New key').fill('sk-ant-api03-another-providers-key-0004-MnOp');
    await row(page, 'OpenAI').getByRole('button', { name: 'Check and replace' }).click();
    await expect(page.getByText(/This looks like a key of Anthropic/)).toBeVisible();
    expect(await page.content()).not.toContain('MnOp');
    await expect(row(page, 'OpenAI')).toContainText('IjKl');
  });
});
