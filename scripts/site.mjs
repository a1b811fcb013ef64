// Lays out target/site: public/ as it is, the compiled script, module and style sheet under pkg/ with their content's
// hash in the name (so a browser may keep them for ever), Brotli and gzip beside each file that shrinks, and
// manifest.json, which names the hashed files. Files that would not change are not touched, so that cargo sees no change.

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const SITE = 'target/site';
const BROWSER = 'target/browser/out';
const SHRINKS = /\.(css|html|js|json|map|svg|txt|wasm|webmanifest|xml)$/;

function main() {
  const wanted = new Map();
  for (const file of listFiles('public')) wanted.set(relative('public', file), readFileSync(file));
  for (const file of listFiles(join(BROWSER, 'snippets'))) {
    wanted.set(join('pkg', relative(BROWSER, file)), readFileSync(file));
  }
  const manifest = {};
  for (const [kind, source] of [
    ['js', join(BROWSER, 'web.js')],
    ['wasm', join(BROWSER, 'web_bg.wasm')],
    ['css', 'target/style/web.css'],
  ]) {
    const content = readFileSync(source);
    manifest[kind] = `pkg/web.${createHash('sha256').update(content).digest('hex').slice(0, 16)}.${kind}`;
    wanted.set(manifest[kind], content);
  }
  wanted.set('manifest.json', Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`));

  const kept = new Set();
  for (const [path, content] of wanted) {
    const file = join(SITE, path);
    kept.add(file);
    const changed = write(file, content);
    if (!SHRINKS.test(path) || path === 'manifest.json') continue;
    for (const [suffix, compress] of [['.br', brotli], ['.gz', gzip]]) {
      kept.add(file + suffix);
      if (changed || !existsSync(file + suffix)) writeFileSync(file + suffix, compress(content));
    }
  }
  for (const file of listFiles(SITE)) if (!kept.has(file)) rmSync(file);

  const size = (kind) => `${kind} ${(readFileSync(join(SITE, `${manifest[kind]}.br`)).length / 1000).toFixed(1)} kB`;
  console.error(`  target/site: ${size('wasm')}, ${size('js')}, ${size('css')} (Brotli)`);
}

// Whether the file had to be written.
function write(file, content) {
  if (existsSync(file) && readFileSync(file).equals(content)) return false;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
  return true;
}

function listFiles(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.startsWith('.'))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
}

function brotli(content) {
  return brotliCompressSync(content, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: content.length },
  });
}

function gzip(content) {
  return gzipSync(content, { level: 9 });
}

main();
