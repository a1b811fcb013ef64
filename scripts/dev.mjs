// Runs the demo from debug builds, and builds again whenever a source file changes: the site first, since the binary
// embeds it, then the binaries; then the demo starts anew with its data kept. Arguments go to `tokenbank demo`.

import { spawn } from 'node:child_process';
import { existsSync, watch } from 'node:fs';

const WATCHED = ['app', 'catalogue', 'domain', 'frontend', 'migrations', 'public', 'sandbox', 'server', 'style'];
const SETTLED_MS = 300;

let demo;
let building = false;
let changed = true;
let timer;

async function rebuild() {
  if (building) return;
  building = true;
  while (changed) {
    changed = false;
    const site = await run('scripts/site', [], { WASM_PROFILE: 'dev' });
    const built = site && (await run('cargo', ['build', '--locked', '--package', 'app', '--package', 'sandbox']));
    if (built && !changed) await restart();
    if (!built) console.error('dev: that did not build; waiting for the next change');
  }
  building = false;
}

async function restart() {
  if (demo && demo.exitCode === null) {
    const ended = new Promise((resolve) => demo.once('exit', resolve));
    demo.kill('SIGTERM');
    await ended;
  }
  demo = spawn('target/debug/tokenbank', ['demo', ...process.argv.slice(2)], { stdio: 'inherit' });
}

function run(command, args, env = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: 'inherit', env: { ...process.env, ...env } });
    child.once('exit', (code) => resolve(code === 0));
    child.once('error', () => resolve(false));
  });
}

for (const folder of WATCHED.filter((name) => existsSync(name))) {
  watch(folder, { recursive: true }, () => {
    changed = true;
    clearTimeout(timer);
    timer = setTimeout(rebuild, SETTLED_MS);
  });
}
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    demo?.kill('SIGTERM');
    process.exit(0);
  });
}
rebuild();
