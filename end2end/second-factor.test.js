// A code of an app beside the password: turned on, asked for, and the way in with a recovery code. Without JavaScript.

import { createHmac } from 'node:crypto';
import { newPerson, signUp } from './support/person.js';
import { expect, test } from './support/test.js';

test.use({ javaScriptEnabled: false });

test('a second factor is set up, asked for, and replaced by a recovery code', async ({ page, sandbox }) => {
  test.slow();
  const person = newPerson('factor');
  await signUp(page, sandbox, person);
  await page.goto('/settings');
  await page.getByRole('link', { name: 'Set it up: second factor' }).click();
  await page.getByLabel('Your password').fill(person.password);
  await page.getByRole('button', { name: 'Set it up' }).click();

  const key = (await page.getByRole('region', { name: '1. Give the key to your app' }).locator('code').innerText()).replaceAll(' ', '');
  await page.getByLabel('Code', { exact: true }).fill('000000');
  await page.getByRole('button', { name: 'Turn it on' }).click();
  await expect(page.getByText('Not a code that counts now.')).toBeVisible();
  await page.getByLabel('Code', { exact: true }).fill(codeNow(key));
  await page.getByRole('button', { name: 'Turn it on' }).click();
  const codes = await page.getByRole('list', { name: 'Recovery codes' }).getByRole('listitem').allInnerTexts();
  expect(codes).toHaveLength(10);
  await page.goto('/settings/second-factor');
  await expect(page.getByText('10 recovery codes are left.')).toBeVisible();
  await expect(page.getByText(codes[0])).toHaveCount(0);

  await page.getByLabel('Your account').click();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.goto('/usage');
  await page.getByLabel('E-mail').fill(person.email);
  await page.getByLabel('Password').fill(person.password);
  await page.getByRole('main').getByRole('button', { name: 'Sign in' }).click();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Second step');

  // The password alone opens nothing.
  await page.goto('/usage');
  await expect(page).toHaveURL(/\/sign-in\?next=\/usage$/);
  await page.goto('/sign-in/code?next=/usage');
  await page.getByLabel('Code').fill('123456');
  await page.getByRole('main').getByRole('button', { name: 'Sign in' }).click();
  await expect(page.getByText('Not a code that counts now.')).toBeVisible();
  await page.getByLabel('Code').fill(codes[0]);
  await page.getByRole('main').getByRole('button', { name: 'Sign in' }).click();
  await expect(page).toHaveURL(/\/usage$/);
  await page.goto('/settings/second-factor');
  await expect(page.getByText('9 recovery codes are left.')).toBeVisible();
});

// What an authenticator app does with the key (RFC 6238).
function codeNow(key) {
  const bits = [...key].map((letter) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter).toString(2).padStart(5, '0')).join('');
  const secret = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigInt64BE(BigInt(Math.floor(Date.now() / 30_000)));
  const digest = createHmac('sha1', secret).update(step).digest();
  const word = digest.readUInt32BE(digest.at(-1) & 0x0f) & 0x7fffffff;
  return String(word % 1_000_000).padStart(6, '0');
}
