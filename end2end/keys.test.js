// Own keys in the browser: saved after a check at the provider, each result beside the form without leaving the page, used by
// runs, ordered by mouse and keyboard, deleted; and OpenRouter connected by its sign-in.

import { amountOf, INPUT, newPerson, openPreview, openTask, signIn, signUp, spendable, waitForRun } from './support/person.js';
import { expect, test } from './support/test.js';

// The sandbox reads from a key's text how it stands.
const KEY = {
  good: 'sk-ant-api03-quiet-river-patient-otter-0001-AbCd',
  refused: 'sk-ant-api03-invalid-river-patient-otter-0002-EfGh',
  broke: 'sk-proj-nocredit-river-patient-otter-0003-IjKl',
};

async function fill(page, provider, secret, label = '') {
  await page.getByLabel('Provider', { exact: true }).selectOption({ label: provider });
  await page.getByLabel('Key', { exact: true }).fill(secret);
  await page.getByLabel('Label', { exact: true }).first().fill(label);
}

async function save(page, provider, secret, label = '') {
  await page.goto('/keys');
  await fill(page, provider, secret, label);
  await page.getByRole('button', { name: 'Check and save' }).click();
}

const row = (page, provider) => page.getByRole('listitem').filter({ has: page.getByRole('heading', { name: provider, exact: true }) });

// What a check can find: what is pasted, what stands beside the form, what its row says, and whether it is kept.
const RESULTS = [
  { name: 'valid', provider: 'DeepSeek', secret: 'sk-quiet-river-patient-otter-0010-AbCd', says: ['It works.', '12.34 USD left at DeepSeek.'], state: 'Works' },
  { name: 'valid without credit', provider: 'Groq', secret: 'gsk_nocredit-river-patient-otter-0011-AbCd', says: ['your Groq account has no credit'], state: 'your provider account has no credit' },
  { name: 'valid but restricted', provider: 'OpenAI', secret: 'sk-proj-restricted-river-patient-0012-AbCd', says: ['restricted permissions'], state: 'restricted permissions' },
  { name: 'rate limited', provider: 'Google', secret: 'AQ.limited-river-patient-otter-0013-AbCd', says: ['Google slows it down'], state: 'rate limited' },
  { name: 'invalid', provider: 'Anthropic', secret: KEY.refused, says: ['Anthropic refuses this key. It was not saved.'], state: null },
  { name: 'unreachable', provider: 'Together AI', secret: 'tgp_v1_broken-river-patient-otter-0014-AbCd', says: ['Whether it works is not known yet.', 'answered 500'], state: 'could not be reached' },
  { name: 'region blocked', provider: 'Anthropic', secret: 'sk-ant-api03-region-river-patient-0015-AbCd', says: ['does not serve the region of this server'], state: 'does not serve' },
];

// A mark in the document that a new page would not have.
const mark = (page) => page.evaluate(() => document.body.setAttribute('data-mark', 'yes'));
const isMarked = (page) => page.evaluate(() => document.body.hasAttribute('data-mark'));

for (const { name, provider, secret, says, state } of RESULTS) {
  test(`a pasted key that is ${name} is told beside the form, in the same page`, async ({ page, sandbox }) => {
    await signUp(page, sandbox, newPerson('keys-result'));
    await page.goto('/keys');
    await page.waitForLoadState('networkidle');
    await mark(page);
    // The answer is held back for a moment, so that waiting is seen.
    let release;
    const held = new Promise((done) => (release = done));
    await page.route('**/keys', async (route) => {
      if (route.request().method() === 'POST') await held;
      await route.continue();
    });
    await fill(page, provider, secret, 'Of the office');
    const button = page.getByRole('button', { name: 'Check and save' });
    await button.click();
    await expect(page.getByText('Checking the key at its provider')).toBeVisible();
    await expect(button).toHaveAttribute('aria-busy', 'true');
    release();

    const form = page.getByRole('region', { name: 'Add a key' });
    for (const words of says) await expect(form).toContainText(words);
    await expect(page.getByText('Checking the key at its provider')).toBeHidden();
    if (state === null) {
      await expect(row(page, provider)).toContainText('No key');
      await expect(form.getByLabel('Label', { exact: true })).toHaveValue('Of the office');
      await expect(form.getByLabel('Key', { exact: true })).toBeFocused();
    } else {
      await expect(form.getByText('The key is saved.')).toBeVisible();
      await expect(row(page, provider)).toContainText('Of the office');
      await expect(row(page, provider)).toContainText(state);
      await expect(form.getByLabel('Key', { exact: true })).toHaveValue('');
    }
    expect(await isMarked(page), 'the page was not left').toBe(true);
    expect(await page.content()).not.toContain(secret);

    // The server knows the same.
    await page.reload();
    await expect(row(page, provider)).toContainText(state ?? 'No key');
  });
}

test('a key of another provider is offered to that one, and saved there by one press', async ({ page, sandbox }) => {
  await signUp(page, sandbox, newPerson('keys-moved'));
  await page.goto('/keys');
  await page.waitForLoadState('networkidle');
  await fill(page, 'Groq', KEY.good);
  await page.getByRole('button', { name: 'Check and save' }).click();
  await expect(page.getByText('This looks like a key of Anthropic')).toBeVisible();
  await page.getByRole('button', { name: 'Save it at Anthropic instead' }).click();
  await expect(page.getByText('The key is saved.')).toBeVisible();
  await expect(row(page, 'Anthropic')).toContainText('AbCd');
  await expect(row(page, 'Groq')).toContainText('No key');
});

test('keys are ordered by mouse and by keyboard, in the same page', async ({ page, sandbox }) => {
  await signUp(page, sandbox, newPerson('keys-order'));
  for (const name of ['First', 'Second', 'Third']) {
    await save(page, 'Anthropic', `sk-ant-api03-river-patient-otter-${name}-AbCd`, name);
    await expect(row(page, 'Anthropic')).toContainText(name);
  }
  await page.waitForLoadState('networkidle');
  await mark(page);
  const items = row(page, 'Anthropic').getByRole('listitem');
  const order = async (...names) => {
    await expect(items).toHaveCount(names.length);
    for (const [at, name] of names.entries()) await expect(items.nth(at)).toContainText(name);
  };
  const kept = async (...names) => {
    await order(...names);
    const other = await page.context().newPage();
    await other.goto('/keys');
    const there = row(other, 'Anthropic').getByRole('listitem');
    for (const [at, name] of names.entries()) await expect(there.nth(at)).toContainText(name);
    await other.close();
  };
  await order('First', 'Second', 'Third');

  const answered = () => page.waitForResponse((response) => response.request().method() === 'POST');
  const third = items.nth(2).getByTitle('Drag to change the order');
  await Promise.all([answered(), third.dragTo(items.nth(0), { targetPosition: { x: 80, y: 4 } })]);
  await kept('Third', 'First', 'Second');

  await Promise.all([answered(), page.getByRole('button', { name: 'Use Third later' }).press('Enter')]);
  await kept('First', 'Third', 'Second');
  await expect(page.getByRole('button', { name: 'Use Third later' })).toBeFocused();
  await Promise.all([answered(), page.keyboard.press('Enter')]);
  await kept('First', 'Second', 'Third');
  await expect(page.getByRole('button', { name: 'Use Third earlier' })).toBeFocused();
  expect(await isMarked(page), 'the page was not left').toBe(true);
});

test.describe('connecting OpenRouter', () => {
  const consent = async (page, answer, kind) => {
    await page.goto('/keys');
    await page.getByRole('button', { name: 'Connect OpenRouter' }).click();
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('OpenRouter');
    if (kind) await page.getByLabel('The key that it gets').selectOption({ label: kind });
    await page.getByRole('button', { name: answer }).click();
    await expect(page).toHaveURL(/\/keys\?/);
  };

  test('consent saves a key that was never seen; the same address saves nothing again', async ({ page, sandbox }) => {
    const addresses = [];
    page.on('request', (request) => addresses.push(request.url()));
    await signUp(page, sandbox, newPerson('keys-connect'));
    await consent(page, 'Authorize');
    await expect(page.getByText('OpenRouter is connected.')).toBeVisible();
    await expect(page.getByText('It works.')).toBeVisible();
    await expect(row(page, 'OpenRouter')).toContainText('Connected at OpenRouter');
    await expect(row(page, 'OpenRouter').getByRole('listitem')).toHaveCount(1);
    expect(new URL(page.url()).search, 'no code in the address').not.toContain('code');
    expect(await page.content()).not.toContain('sk-or-v1');

    const callback = addresses.find((address) => new URL(address).pathname.startsWith('/keys/openrouter/'));
    await page.goto(callback);
    await expect(page.getByText('This connection has been used already')).toBeVisible();
    await expect(row(page, 'OpenRouter').getByRole('listitem')).toHaveCount(1);
  });

  test('declined, refused, and begun in another browser: told, and nothing saved', async ({ page, sandbox, browser, demo }) => {
    const person = newPerson('keys-declined');
    await signUp(page, sandbox, person);
    await consent(page, 'Decline');
    await expect(page.getByText('because that was declined there')).toBeVisible();
    await consent(page, 'Authorize', 'OpenRouter refuses it');
    await expect(page.getByText('a key that it refuses, or that runs no models')).toBeVisible();
    await consent(page, 'Authorize', 'It is a management key');
    await expect(page.getByText('a key that it refuses, or that runs no models')).toBeVisible();
    await expect(row(page, 'OpenRouter')).toContainText('No key');

    // The way back is caught on the way and opened where the same person is signed in as well.
    let callback;
    await page.route('**/openrouter/auth', async (route) => {
      const answer = await route.fetch({ maxRedirects: 0 });
      callback = answer.headers().location;
      await route.fulfill({ status: 200, body: 'The way back was caught.' });
    });
    await page.goto('/keys');
    await page.getByRole('button', { name: 'Connect OpenRouter' }).click();
    await page.getByRole('button', { name: 'Authorize' }).click();
    await expect.poll(() => callback).toBeTruthy();
    const context = await browser.newContext({ baseURL: demo });
    const elsewhere = await context.newPage();
    await signIn(elsewhere, person);
    await elsewhere.goto(callback);
    await expect(elsewhere.getByText('This connection was not begun in this browser')).toBeVisible();
    await expect(row(elsewhere, 'OpenRouter')).toContainText('No key');
    await context.close();
  });
});

test('a key is checked, kept out of sight, pays for a run, and is deleted @postgres', async ({ page, sandbox }) => {
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

  test('each result of a check is told by the page', async ({ page, sandbox }) => {
    await signUp(page, sandbox, newPerson('keys-plain-results'));
    for (const { provider, secret, says, state } of RESULTS) {
      await save(page, provider, secret);
      const form = page.getByRole('region', { name: 'Add a key' });
      for (const words of says) await expect(form).toContainText(words);
      if (state !== null) await expect(row(page, provider)).toContainText(state);
    }
    await save(page, 'Groq', KEY.good);
    await expect(page.getByText('This looks like a key of Anthropic')).toBeVisible();
    await expect(page.getByText('paste the key once more first')).toBeVisible();
    await page.getByLabel('Key', { exact: true }).fill(KEY.good);
    await page.getByRole('button', { name: 'Save it at Anthropic instead' }).click();
    await expect(page.getByText('The key is saved.')).toBeVisible();
    await expect(row(page, 'Anthropic')).toContainText('Works');
  });

  test('rules say whose key pays, and a line says what the next run will use', async ({ page, sandbox }) => {
    await signUp(page, sandbox, newPerson('keys-rules'));
    await page.goto('/keys');
    const line = page.getByText(/^Claude 3\.5 Haiku: this run will use/);
    const rule = page.getByLabel('Whose key pays: Anthropic, Fast');
    const saveRules = () => page.getByRole('button', { name: 'Save the rules' }).click();
    await expect(line).toContainText('our key, paid from your plan or credits');
    const cap = page.getByLabel('What Tokenbank may pay in a month, in dollars: Anthropic, Fast');
    await expect(cap).toBeHidden();

    await rule.selectOption({ label: 'My key alone' });
    await saveRules();
    await expect(page.getByText('The rules are saved.')).toBeVisible();
    await expect(line).toContainText('nothing, for no key of yours works and nothing may pay instead');

    await rule.selectOption({ label: 'My key, then Tokenbank' });
    await saveRules();
    await expect(page.getByText(/Letting Tokenbank pay needs an amount of dollars/)).toBeVisible();
    await rule.selectOption({ label: 'My key, then Tokenbank' });
    await cap.fill('5');
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
