// Starts the demos under test, once for a whole run, and ends them after it: `tokenbank demo` on SQLite, once more with
// the catalogue `legionis`, and on Postgres where TEST_POSTGRES_URL says it is. The tests find them through the environment.

import { execFileSync, spawn } from 'node:child_process';
import { createWriteStream, mkdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

const PROGRAM = process.env.TOKENBANK || 'target/debug/tokenbank';
const FOLDER = resolve('target/end2end');
const START_MS = 60_000;

export default async function startDemos() {
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(FOLDER, { recursive: true });
  const endings = [];
  const end = async () => {
    for (const ending of endings.reverse()) await ending();
  };
  try {
    endings.push(await startDemo('sqlite', undefined, process.env.SEED_DAYS ?? 0));
    if (!process.env.SEED_DAYS) endings.push(await startDemo('legionis', undefined, 0, ['--catalogue', 'legionis']));
    if (process.env.TEST_POSTGRES_URL && !process.env.SEED_DAYS) {
      const database = `end2end_${process.pid}`;
      const url = new URL(process.env.TEST_POSTGRES_URL);
      psql(url, `create database ${database}`);
      endings.push(async () => psql(url, `drop database ${database} with (force)`));
      const own = new URL(url);
      own.pathname = `/${database}`;
      endings.push(await startDemo('postgres', own.href));
    }
  } catch (error) {
    await end();
    throw error;
  }
  return end;
}

// Starts one demo without sample history and waits until it says where it is. The answer ends it.
export async function startDemo(name, databaseUrl, seedDays = 0, more = []) {
  const log = join(FOLDER, `${name}.log`);
  mkdirSync(FOLDER, { recursive: true });
  const env = { ...process.env };
  delete env.DATABASE_URL;
  if (databaseUrl) env.DATABASE_URL = databaseUrl;
  const demo = spawn(
    PROGRAM,
    ['demo', '--port', '0', '--data', join(FOLDER, name), '--fresh', '--seed-days', String(seedDays), ...more],
    { env, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const file = createWriteStream(log);
  demo.stderr.pipe(file);
  const ended = new Promise((done) => demo.once('exit', done));

  await new Promise((ready, refuse) => {
    const late = setTimeout(() => refuse(new Error(`the ${name} demo did not start; see ${log}`)), START_MS);
    demo.once('error', refuse);
    demo.once('exit', (code) => refuse(new Error(`the ${name} demo ended with ${code}; see ${log}`)));
    createInterface({ input: demo.stdout }).on('line', (line) => {
      file.write(`${line}\n`);
      const [what, url] = line.split(': ');
      if (what === 'sandbox') process.env[`${name.toUpperCase()}_SANDBOX`] = url.trim();
      if (what === 'ready') {
        process.env[`${name.toUpperCase()}_DEMO`] = url.trim();
        clearTimeout(late);
        ready();
      }
    });
  });
  return async () => {
    demo.kill('SIGTERM');
    const slow = setTimeout(() => demo.kill('SIGKILL'), 15_000);
    await ended;
    clearTimeout(slow);
  };
}

function psql(url, statement) {
  execFileSync('psql', [url.href, '--quiet', '--no-psqlrc', '--command', statement], { stdio: ['ignore', 'ignore', 'inherit'] });
}
