// People come by invitation, see what their role lets them, and an account changes hands.

import { followMail, newPerson, signIn, signUp } from './support/person.js';
import { expect, test } from './support/test.js';

// The row of a person in a list of the Team page.
const row = (page, email) => page.getByRole('main').getByRole('listitem').filter({ hasText: email });

async function invite(page, email, role) {
  await page.goto('/team');
  await page.getByLabel('E-mail').fill(email);
  await page.getByLabel('Role', { exact: true }).selectOption(role);
  await page.getByRole('button', { name: 'Send the invitation' }).click();
  await expect(page.getByText('The invitation is on its way.')).toBeVisible();
}

// From the mail to a member of the account, as somebody new.
async function join(page, sandbox, person, account) {
  await followMail(page, sandbox, person.email, `Join ${account}`);
  await expect(page.getByRole('heading', { level: 1 })).toHaveText(`Join ${account}`);
  await page.getByLabel('Choose a password').fill(person.password);
  await page.getByRole('button', { name: 'Sign up and join' }).click();
  await expect(page).toHaveURL(/\/overview$/);
}

async function changeRole(page, email, role) {
  await page.goto('/team');
  await page.getByLabel(`Role of ${email}`, { exact: true }).selectOption(role);
  await page.getByRole('button', { name: `Save the role of ${email}` }).click();
  await expect(page.getByText('The role is changed, from now on.')).toBeVisible();
}

for (const javaScriptEnabled of [true, false]) {
  test.describe(javaScriptEnabled ? 'with JavaScript' : 'without JavaScript', () => {
    test.use({ javaScriptEnabled });

    test('an owner invites, the invitee joins and is refused what a viewer may not, then owns the account', async ({ page, browser, demo, sandbox }) => {
      test.slow();
      const [owner, friend] = [newPerson('host'), newPerson('guest')];
      const account = owner.email.split('@')[0];
      await signUp(page, sandbox, owner);
      await invite(page, friend.email, 'viewer');
      await expect(row(page, friend.email)).toContainText('Invited');

      const context = await browser.newContext({ baseURL: demo, javaScriptEnabled });
      const theirs = await context.newPage();
      await join(theirs, sandbox, friend, account);
      await theirs.getByLabel('Your account').click();
      await expect(theirs.getByRole('banner')).toContainText(account);

      await test.step('a viewer is refused, and told whom to ask', async () => {
        await theirs.goto('/credits');
        await theirs.getByRole('button', { name: 'Buy $10 pack' }).click();
        await expect(theirs.getByRole('alert')).toContainText(
          `Your role here is viewer, which may not buy credit or change the plan. Ask an owner, admin or billing member of ${account}.`,
        );
        await theirs.goto('/team');
        await expect(theirs.getByText(`Ask an owner or admin of ${account}.`)).toBeVisible();
        await expect(theirs.getByRole('button', { name: 'Send the invitation' })).toHaveCount(0);
      });

      await test.step('with another role it works', async () => {
        await changeRole(page, friend.email, 'billing');
        await theirs.goto('/credits');
        await theirs.getByRole('button', { name: 'Buy $10 pack' }).click();
        await expect(theirs.getByRole('heading', { level: 1 })).toHaveText('Pay');
      });

      await test.step('the last owner cannot leave', async () => {
        await page.goto('/team');
        await page.getByText('Leave this account').click();
        await page.getByRole('button', { name: 'Leave the account' }).click();
        await expect(page.getByRole('alert')).toContainText('You are the only owner');
      });

      await test.step('the account is handed over, and its first owner leaves', async () => {
        await page.goto('/team');
        await page.getByLabel(`More about ${friend.email}`).click();
        await row(page, friend.email).getByRole('button', { name: 'Hand the account over' }).click();
        await expect(page.getByText('The account has a new owner.')).toBeVisible();
        await page.getByText('Leave this account').click();
        await page.getByRole('button', { name: 'Leave the account' }).click();
        await expect(page).toHaveURL(/\/overview$/);
        await page.goto('/team');
        await expect(row(page, friend.email)).toHaveCount(0);
        await theirs.goto('/team');
        await expect(row(theirs, owner.email)).toHaveCount(0);
        await expect(theirs.getByRole('button', { name: 'Send the invitation' })).toBeVisible();
      });
      await context.close();
    });
  });
}

test('an invitation works once and for its address; a second account is chosen at the top', async ({ page, browser, demo, sandbox }) => {
  test.slow();
  const [owner, friend] = [newPerson('several'), newPerson('member')];
  const account = owner.email.split('@')[0];
  await signUp(page, sandbox, owner);
  await invite(page, friend.email, 'developer');
  // The owner opens the link by mistake.
  await followMail(page, sandbox, friend.email, `Join ${account}`);
  const link = page.url();
  await expect(page.getByText(`The invitation is for ${friend.email}, and you are signed in as ${owner.email}.`)).toBeVisible();

  const context = await browser.newContext({ baseURL: demo });
  const theirs = await context.newPage();
  await signUp(theirs, sandbox, friend);
  await theirs.goto(link);
  await theirs.getByRole('button', { name: `Join ${account}` }).click();
  await expect(theirs).toHaveURL(/\/overview$/);
  await theirs.goto(link);
  await expect(theirs.getByRole('heading', { level: 1 })).toHaveText('This invitation does not work');

  await theirs.goto('/usage');
  await theirs.getByLabel(`Account: ${account}`).click();
  await theirs.getByRole('button', { name: friend.email.split('@')[0] }).click();
  await expect(theirs).toHaveURL(/\/usage$/);
  await expect(theirs.getByLabel(`Account: ${friend.email.split('@')[0]}`)).toBeVisible();

  // A form that was made for the other account does nothing here.
  const stale = await context.newPage();
  await stale.goto('/team');
  await theirs.getByLabel('Account: ').click();
  await theirs.getByRole('button', { name: account }).click();
  await stale.getByLabel('E-mail').fill('nobody@people.test');
  await stale.getByRole('button', { name: 'Send the invitation' }).click();
  await expect(stale.getByRole('alert')).toContainText('Nothing was done.');
  await context.close();
});

test('settings: rename, another account, sessions, and deleting it all', async ({ page, browser, demo, sandbox }) => {
  test.slow();
  const person = newPerson('settings');
  await signUp(page, sandbox, person);
  await page.goto('/settings');
  await page.getByLabel('Name of the account').fill('Long Name '.repeat(9));
  await page.getByRole('button', { name: 'Save the account' }).click();
  await expect(page.getByText('Longer than 80 characters. Shorten it.')).toBeVisible();
  await page.getByLabel('Name of the account').fill('Northwind');
  await page.getByLabel('Time zone').selectOption('Europe/Vienna');
  await page.getByRole('button', { name: 'Save the account' }).click();
  await expect(page.getByText('The account is changed.')).toBeVisible();

  const context = await browser.newContext({ baseURL: demo });
  const other = await context.newPage();
  await signIn(other, person);
  await page.reload();
  await page.getByRole('button', { name: 'Sign out Chrome on Linux' }).first().click();
  await expect(page.getByText('That browser is signed out.')).toBeVisible();
  await other.goto('/overview');
  await expect(other).toHaveURL(/\/sign-in/);
  await context.close();

  await page.getByText('Open another account').click();
  await page.getByLabel('Name of the new account').fill('Second');
  await page.getByRole('button', { name: 'Open the account' }).click();
  await expect(page.getByLabel('Account: Second')).toBeVisible();

  for (const [name, next] of [['Second', /\/overview$/], ['Northwind', /\/sign-in\?after=deleted$/]]) {
    await page.goto('/settings/delete');
    await page.getByLabel(`Type ${name} to confirm`).fill('something else');
    await page.getByLabel('Your password').fill(person.password);
    await page.getByRole('button', { name: `Delete ${name} for good` }).click();
    await expect(page.getByText('Not the name of this account.')).toBeVisible();
    await page.getByLabel(`Type ${name} to confirm`).fill(name);
    await page.getByLabel('Your password').fill(person.password);
    await page.getByRole('button', { name: `Delete ${name} for good` }).click();
    await expect(page).toHaveURL(next);
  }
  await page.getByLabel('E-mail').fill(person.email);
  await page.getByLabel('Password').fill(person.password);
  await page.getByRole('main').getByRole('button', { name: 'Sign in' }).click();
  await expect(page.getByRole('alert')).toContainText('The e-mail or the password is not right.');
});
