// What goes wrong is said in words, with the remedy, and nothing is lost or done twice.

import { beginCheckout, buyPack, CARD, INPUT, newPerson, openPreview, openTask, pay, payWithCredits, signUp, spendable } from './support/person.js';
import { expect, test } from './support/test.js';

const EMPTY = 'Your credit balance is $0.00. Add credits to continue, or switch to BYOT for zero markup.';

test('a declined card charges nothing, and another one can be used', async ({ page, sandbox }) => {
  await signUp(page, sandbox, newPerson('declined'));
  await beginCheckout(page, '$10');
  await pay(page, CARD.declined);
  await expect(page.getByRole('alert')).toContainText('Nothing was paid. Try another card.');
  await pay(page, CARD.noFunds);
  await expect(page.getByRole('alert')).toContainText('Nothing was paid. Try another card.');
  await pay(page, CARD.good);
  await expect(page).toHaveURL(/\/credits\/bought\//);
});

test('leaving the payment page charges nothing, and says so', async ({ page, sandbox }) => {
  await signUp(page, sandbox, newPerson('cancelled'));
  await beginCheckout(page, '$25');
  await page.getByRole('link', { name: 'Cancel' }).click();
  await expect(page).toHaveURL(/\/credits/);
  await expect(page.getByRole('status').filter({ hasText: 'Nothing was charged' })).toBeVisible();
  expect(await spendable(page)).toBe(0n);
});

test('a checkout that was paid cannot be paid again', async ({ page, sandbox }) => {
  await signUp(page, sandbox, newPerson('twice'));
  await beginCheckout(page, '$10');
  const checkout = page.url();
  await pay(page, CARD.good);
  await expect(page).toHaveURL(/\/credits\/bought\//);
  const bought = page.url();

  await page.goto(checkout);
  await expect(page.getByText('Nothing is paid a second time.')).toBeVisible();
  await expect(async () => {
    await page.goto(bought);
    expect(await spendable(page)).toBe(10_000_000_000n);
  }).toPass();
});

test('a wrong password is refused beside the form, and what was typed is kept', async ({ page, newcomer }) => {
  expect(newcomer).toBeTruthy();
  await page.goto('/sign-in');
  await page.getByLabel('E-mail').fill('nobody@people.test');
  await page.getByLabel('Password').fill('not the password');
  await page.getByRole('main').getByRole('button', { name: 'Sign in' }).click();
  await expect(page.getByRole('alert')).toContainText('The e-mail or the password is not right. Try again, or reset it.');
  await expect(page.getByLabel('E-mail')).toHaveValue('nobody@people.test');
});

test('a short password is refused with the reason, even when the browser does not check', async ({ page }) => {
  await page.goto('/sign-up');
  await page.locator('form').evaluateAll((forms) => forms.forEach((form) => (form.noValidate = true)));
  await page.getByLabel('E-mail').fill('short@people.test');
  await page.getByLabel('Password').fill('short');
  await page.getByRole('button', { name: 'Create the account' }).click();
  await expect(page.getByLabel('Password')).toHaveAttribute('aria-invalid', 'true');
  await expect(page.getByLabel('E-mail')).toHaveValue('short@people.test');
});

test('the console leads to sign-in and back', async ({ browser, demo, sandbox }) => {
  const context = await browser.newContext({ baseURL: demo });
  const page = await context.newPage();
  const person = newPerson('returns');
  await signUp(page, sandbox, person);
  await page.getByLabel('Your account').click();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.goto('/usage');
  await expect(page).toHaveURL(/\/sign-in\?next=\/usage$/);
  await page.getByLabel('E-mail').fill(person.email);
  await page.getByLabel('Password').fill(person.password);
  await page.getByRole('main').getByRole('button', { name: 'Sign in' }).click();
  await expect(page).toHaveURL(/\/usage$/);
  await context.close();
});

test('without credit what the plan refuses is refused with the remedy', async ({ page, sandbox }) => {
  await signUp(page, sandbox, newPerson('broke'));
  await openTask(page, 'Strategic bet');
  const preview = await openPreview(page);
  await expect(preview.getByText(EMPTY)).toBeVisible();
  await expect(preview.getByText('The Free plan does not include')).toBeVisible();
  await expect(preview.getByRole('link', { name: 'Add credits' })).toHaveAttribute('href', '/credits');
  await expect(preview.getByRole('button', { name: 'Execute' })).toBeDisabled();
});

test('a run sent twice runs once and costs once', async ({ page, sandbox }) => {
  await signUp(page, sandbox, newPerson('double'));
  await buyPack(page, '$10');
  await payWithCredits(page);
  await openTask(page, 'User story', INPUT);
  const form = await page.locator('form', { has: page.locator('[name=execution_id]') }).evaluate((form) => [
    form.action,
    `${new URLSearchParams(new FormData(form))}&step=execute`,
  ]);
  const send = () =>
    page.request.post(form[0], {
      data: form[1],
      headers: { 'content-type': 'application/x-www-form-urlencoded', 'sec-fetch-site': 'same-origin' },
      maxRedirects: 0,
    });
  const [first, second] = await Promise.all([send(), send()]);
  expect(first.headers().location).toMatch(/\/runs\//);
  expect(second.headers().location).toBe(first.headers().location);

  await expect(async () => {
    await page.goto('/credits');
    await expect(page.getByRole('table', { name: /Statement/ }).getByRole('row')).toHaveCount(3, { timeout: 250 });
  }).toPass();
});

test('an impatient second press sends a form once', async ({ page, sandbox }) => {
  await signUp(page, sandbox, newPerson('impatient'));
  await page.goto('/credits');
  let sent = 0;
  page.on('request', (request) => (sent += request.method() === 'POST' ? 1 : 0));
  const buy = page.getByRole('button', { name: 'Buy $10 pack' });

  // The first press: an event that the browser does not follow up, so the page stays as if the answer took long.
  const press = (button) => {
    button.form.dispatchEvent(new SubmitEvent('submit', { bubbles: true, cancelable: true, submitter: button }));
    return button.getAttribute('aria-busy');
  };
  await expect.poll(() => buy.evaluate(press)).toBe('true');
  await buy.click();
  await buy.press('Enter');
  await expect(page).toHaveURL(/\/credits$/);
  expect(sent).toBe(0);

  // Seen again by going back, it can be sent.
  await page.evaluate(() => window.dispatchEvent(new Event('pageshow')));
  await expect(buy).not.toHaveAttribute('aria-busy');
  await buy.click();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Pay');
  expect(sent).toBe(1);
});

test('a form that another site sends is refused', async ({ page, customer, demo }) => {
  const context = await page.context().browser().newContext({ baseURL: demo, storageState: customer.state });
  const answer = await context.request.post('/sign-out', { headers: { 'sec-fetch-site': 'cross-site' } });
  expect(answer.status()).toBe(403);
  await context.close();
});
