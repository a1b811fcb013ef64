// Agents in the browser: made, stopped, refused past the plan's limit, their API keys, runs and rules for whose key pays, with
// JavaScript and without.

import { newPerson, signUp } from './support/person.js';
import { expect, test } from './support/test.js';

const row = (page, name) => page.getByRole('list', { name: 'Agents' }).getByRole('listitem', { name, exact: true });

async function add(page, name, cap = '') {
  await page.goto('/agents');
  await page.getByLabel('Name', { exact: true }).last().fill(name);
  await page.getByLabel('A run costs at most, in dollars').last().fill(cap);
  await page.getByRole('button', { name: 'Add the agent' }).click();
}

for (const javaScriptEnabled of [true, false]) {
  test.describe(javaScriptEnabled ? 'with JavaScript' : 'without JavaScript', () => {
    test.use({ javaScriptEnabled });

    test('agents are made up to the limit of the plan, stopped, changed and deleted', async ({ page, sandbox }) => {
      test.slow();
      await signUp(page, sandbox, newPerson('agents'));
      await page.goto('/overview');
      await page.getByRole('navigation', { name: 'Console' }).getByRole('link', { name: 'Agents' }).click();
      await expect(page.getByText('No agent yet')).toBeVisible();

      await test.step('three run on Free, and the fourth is told what to do', async () => {
        for (const name of ['Support triage', 'Nightly report', 'Release notes']) {
          await add(page, name, name === 'Support triage' ? '0.05' : '');
          await expect(row(page, name)).toContainText('Running');
        }
        await expect(row(page, 'Support triage')).toContainText('at most $0.05 a run');
        await expect(page.getByText('3 of the 3 that your Free plan lets run at a time.')).toBeVisible();
        await add(page, 'Translator');
        const alert = page.getByRole('alert');
        await expect(alert).toContainText('Your Free plan lets 3 agents run, and 3 do. Stop one, or upgrade.');
        await expect(alert.getByRole('link', { name: 'Upgrade' })).toHaveAttribute('href', '/plan');
        await expect(page.getByLabel('Name', { exact: true }).last()).toHaveValue('Translator');
        await page.goto('/limits');
        await expect(page.getByText('3 of 3 run')).toBeVisible();
      });

      await test.step('one that is stopped leaves room for another', async () => {
        await page.goto('/agents');
        await page.getByRole('button', { name: 'Stop Nightly report' }).click();
        await expect(page.getByText('The agent is stopped.')).toBeVisible();
        await expect(row(page, 'Nightly report')).toContainText('Stopped');
        await add(page, 'Translator');
        await expect(row(page, 'Translator')).toContainText('Running');
        await page.getByRole('button', { name: 'Start Nightly report' }).click();
        await expect(page.getByRole('alert')).toContainText('Stop one, or upgrade.');
      });

      await test.step('a change that is wrong comes back with what was typed', async () => {
        await page.goto('/agents');
        await page.getByLabel('Change Support triage').click();
        const form = row(page, 'Support triage');
        await form.getByLabel('Name').fill('Translator');
        await form.getByRole('button', { name: 'Save the change' }).click();
        await expect(form.getByText('Another agent of this account has this name.')).toBeVisible();
        await expect(form.getByLabel('Name')).toHaveValue('Translator');
        await form.getByLabel('Name').fill('L'.repeat(60));
        await form.getByLabel('A run costs at most').fill('');
        await form.getByRole('button', { name: 'Save the change' }).click();
        await expect(row(page, 'L'.repeat(60))).toContainText('Running');
        await expect(row(page, 'L'.repeat(60))).not.toContainText('at most $');
      });

      await test.step('an API key belongs to an agent and ends with it', async () => {
        await page.getByRole('link', { name: 'See the API keys' }).click();
        await page.getByLabel('Name').fill('Of the translator');
        await page.getByLabel('Belongs to').selectOption({ label: 'Translator' });
        await page.getByRole('button', { name: 'Make the key' }).click();
        await expect(page.getByText('Keep this key now')).toBeVisible();
        const secret = await page.getByRole('status').locator('code').innerText();
        expect(secret).toMatch(/^tb_.{43}$/);
        const key = page.getByRole('listitem', { name: 'Of the translator' });
        await expect(key).toContainText('Of the agent Translator');
        const ask = () => page.request.get('/v1/balance', { headers: { authorization: `Bearer ${secret}` } });
        expect((await ask()).status()).toBe(200);

        await page.goto('/agents');
        await expect(row(page, 'Translator')).toContainText('1 API key');
        await page.getByLabel('Change Translator').click();
        await expect(row(page, 'Translator')).toContainText('Its 1 API key ends at once');
        await row(page, 'Translator').getByRole('button', { name: 'Delete the agent' }).click();
        await expect(page.getByText('The agent is deleted.')).toBeVisible();
        await expect(row(page, 'Translator')).toHaveCount(0);
        expect((await ask()).status()).toBe(401);
        await page.goto('/api-keys');
        await expect(key).toContainText('Revoked');
        expect(await page.content()).not.toContain(secret);
      });
    });

    test('an agent has a rule of its own for whose key pays, and a key is kept for it', async ({ page, sandbox }) => {
      test.slow();
      await signUp(page, sandbox, newPerson('agent-rules'));
      await add(page, 'Support triage');
      await page.getByRole('link', { name: 'Keys as the account: Support triage' }).click();
      await expect(page.getByLabel('Rules of')).toHaveValue(/./);
      const line = page.getByText(/^Claude 3\.5 Haiku: this run will use/);
      const rule = page.getByLabel('Whose key pays: Anthropic, Fast');
      await expect(rule.locator('option:checked')).toHaveText('As the account');
      await expect(line).toContainText('our key, paid from your plan or credits');
      await rule.selectOption({ label: 'My key alone' });
      await page.getByRole('button', { name: 'Save the rules' }).click();
      await expect(page.getByText('The rules are saved.')).toBeVisible();
      await expect(line).toContainText('nothing, for no key of yours works');

      await test.step('the account is as it was', async () => {
        await page.getByLabel('Rules of').selectOption({ label: 'The whole account' });
        await page.getByRole('button', { name: 'Show its rules' }).click();
        await expect(rule.locator('option:checked')).toHaveText('My key if there is one');
        await expect(line).toContainText('our key, paid from your plan or credits');
        await page.goto('/agents');
        await expect(row(page, 'Support triage')).toContainText('1 rule of its own for keys');
      });

      await test.step('a key is kept for the agent', async () => {
        await page.goto('/keys');
        await page.getByLabel('Provider', { exact: true }).selectOption({ label: 'Anthropic' });
        await page.getByLabel('Key', { exact: true }).fill('sk-ant-api03-quiet-river-patient-otter-0009-QrSt');
        await page.getByRole('button', { name: 'Check and save' }).click();
        await expect(line).toContainText('your key “Anthropic”');
        const key = page.getByRole('listitem').filter({ has: page.getByRole('heading', { name: 'Anthropic', exact: true }) });
        await key.getByText('Change', { exact: true }).click();
        await key.getByLabel('Support triage').check();
        await key.getByRole('button', { name: 'Save the change' }).click();
        await expect(key).toContainText('Only for runs of Support triage');
        await expect(line).toContainText('our key, paid from your plan or credits');
        await page.getByLabel('Rules of').selectOption({ label: 'Support triage' });
        await page.getByRole('button', { name: 'Show its rules' }).click();
        await expect(line).toContainText('your key “Anthropic”');
      });
    });
  });
}
