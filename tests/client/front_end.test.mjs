// docs/front-end.md and its Chinese twin, executed: every block of code, in its order, as one program. What stands in a `text`
// block below it must be what it printed (`…` stands for anything).
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { freePort } from './lib/ports.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const guides = ['front-end.md', 'front-end.zh-CN.md'];

function blocksOf(guide) {
  const text = readFileSync(join(here, '../../docs', guide), 'utf8');
  const fence = /(?:<!-- test: (\w+) -->\n)?```js\n([^]*?)```\n(?:\n```text\n([^]*?)```\n)?/g;
  const blocks = [...text.matchAll(fence)].map(([, note, code, printed]) => ({ note, code, printed }));
  assert.equal(text.match(/^```/gm).length, 2 * (blocks.length + blocks.filter((b) => b.printed).length), `${guide}: another block`);
  return blocks;
}

/** `make api` in a database of its own, for as long as `work` takes. */
async function withApi(name, work) {
  const directory = mkdtempSync(join(tmpdir(), 'mps-guide-'));
  const database = `${process.env.MPS_TEST_DB}_${name}`;
  const environment = { ...process.env, PORT: String(await freePort()), PGRST_JWT_SECRET: '' };
  const api = (verb) => execFileSync(join(here, '../../tools/serve'), [verb, database, directory], { env: environment, encoding: 'utf8' });
  const printed = api('start');
  const restUrl = `http://127.0.0.1:${/server-port = (\d+)/.exec(readFileSync(join(directory, 'postgrest.conf'), 'utf8'))[1]}`;
  try {
    await work((of) => (of === 'restUrl' ? restUrl : new RegExp(`^${of} +(\\S+)$`, 'm').exec(printed)[1]), database);
    const wrong = ['-XqAt', '-d', database, '-c', 'SELECT check_name, detail FROM app.verify_books() WHERE NOT ok'];
    assert.equal(execFileSync('psql', wrong, { encoding: 'utf8' }), '');
  } finally {
    api('stop');
    rmSync(directory, { recursive: true });
    execFileSync('psql', ['-Xq', '-d', 'postgres', '-c', `DROP DATABASE ${database} WITH (FORCE)`]);
  }
}

/** Runs a program where supabase-js is; what it printed. */
function run(program) {
  const file = join(here, `.guide-${process.pid}.mjs`);
  writeFileSync(file, program);
  try {
    return execFileSync('node', [file], { encoding: 'utf8', env: { PATH: process.env.PATH } });
  } finally {
    rmSync(file);
  }
}

function mustBe(printed, expected, where) {
  const pattern = expected.trim().split('…').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  assert.match(printed.trim(), new RegExp(`^${pattern.join('[^]*')}$`), where);
}

for (const [number, guide] of guides.entries()) {
  test(`${guide}: every block runs and prints what it says`, async () => {
    const blocks = blocksOf(guide);
    assert.ok(blocks.length >= 15, `${blocks.length}`);
    await withApi(`guide${number}`, (of) => {
      const filled = (code) =>
        code
          .replace("'http://127.0.0.1:3333'", `'${of('URL')}'`)
          .replace(/(memberKey = )'.*'/, `$1'${of('member')}'`)
          .replace(/(tillKey = )'.*'/, `$1'${of('operator')}'`)
          .replace(/(serviceKey = )'.*'/, `$1'${of('service_role')}'`);
      const MARK = '-- end of block --';
      const together = blocks.filter((b) => !b.note);
      const parts = run(together.map((b) => `${filled(b.code)}\nconsole.log('${MARK}')`).join('\n')).split(`${MARK}\n`);
      for (const [n, block] of together.entries()) mustBe(parts[n], block.printed ?? '', `${guide}: ${block.code}`);
      for (const block of blocks.filter((b) => b.note)) {
        const given = `const restUrl = '${of('restUrl')}', memberKey = '${of('member')}'\n`;
        mustBe(run(given + block.code), block.printed, `${guide}: ${block.code}`);
      }
    });
  });
}

test('the snippet of both READMEs runs', async () => {
  await withApi('readme', (of, database) => {
    const sql = `SELECT app.create_merchant('SHOP-001', 'Corner Coffee'), app.set_merchant_user('SHOP-001', '22222222-2222-4222-8222-222222222222')`;
    execFileSync('psql', ['-Xq', '-v', 'ON_ERROR_STOP=1', '-d', database, '-c', sql], { stdio: 'ignore' });
    const as = (name) =>
      `createClient('${of('URL')}', '${of(name)}', { db: { schema: 'app' }, auth: { persistSession: false }, realtime: { transport: class {} } })`;
    const before = `import { createClient } from '@supabase/supabase-js'
const supabase = ${as('operator')}, phone = ${as('member')}, server = ${as('service_role')}
const me = (await phone.rpc('register_member', { p_name: 'Li Lei' }).single()).data
await server.rpc('user_recharge_personal_card', { p_personal_card_id: me.card_id, p_amount: 100, p_payment_method: 'cash' })
const qrValue = (await phone.rpc('rotate_card_qr', { p_card_id: me.card_id }).single()).data.qr_plain
`;
    for (const [n, readme] of ['README.md', 'README.zh-CN.md'].entries()) {
      const text = readFileSync(join(here, '../..', readme), 'utf8');
      const snippet = text.split('```ts\n').map((part) => part.split('```')[0]).find((part) => part.includes('merchant_charge_by_qr'));
      // The second has another key: the first is used.
      const own = snippet.replace('order-2025-0001', `order-${n}`);
      assert.match(run(before + own), /^ZF\d+ 52$/m, readme);
      const broke = run(before + own.replace('52.0,', '5200.0,').replace(`order-${n}`, `broke-${n}`));
      assert.match(broke, /^PT402 INSUFFICIENT_BALANCE$/m, readme);
    }
  });
});

test('the snippet of the reference about money in suspense runs', async () => {
  const text = readFileSync(join(here, '../../docs/rpc/recharges.md'), 'utf8');
  const snippet = text.split('```ts\n')[1].split('```')[0];
  await withApi('reference', (of) => {
    const options = "{ db: { schema: 'app' }, auth: { persistSession: false }, realtime: { transport: class {} } }";
    const client = `createClient('${of('URL')}', '${of('service_role')}', ${options})`;
    const before = `import { createClient } from '@supabase/supabase-js'
const backend = ${client}
const phone = (await backend.rpc('register_member', { p_name: 'Li Lei' }).single()).data
const asked = (await backend.rpc('user_recharge_personal_card', { p_personal_card_id: phone.card_id, p_amount: 100 }).single()).data
for (const p_gateway_trade_no of ['wx-1', 'wx-2']) await backend.rpc('confirm_recharge', { p_tx_no: asked.tx_no, p_amount: 100, p_gateway_trade_no })
`;
    const printed = run(`${before}${snippet}\nconsole.log(data.map((row) => [row.gateway_trade_no, row.amount].join(' ')).join())`);
    assert.equal(printed.trim(), 'wx-2 100');
  });
});

test('both guides have the same code', () => {
  const bare = (guide) => blocksOf(guide).map((b) => b.code.replace(/ *\/\/.*$/gm, '').replace(/(Key = )'.*'/g, "$1''"));
  assert.deepEqual(bare(guides[1]), bare(guides[0]));
});
