// PostgREST as the documents say to set it up: behind pgbouncer, with a new schema, with users of another issuer, and with roles
// that came after the extension.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, test } from 'node:test';
import { sign } from './lib/api.mjs';
import { psql } from './lib/psql.mjs';
import { freePort } from './lib/ports.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const database = process.env.MPS_TEST_DB;
const surroundings = readFileSync(join(here, '../../docs/surroundings.md'), 'utf8');
const binary = execFileSync(join(here, '../../tools/postgrest'), ['binary'], { encoding: 'utf8' }).trim();
const pgbouncer = [process.env.MPS_PGBOUNCER, '/usr/sbin/pgbouncer', '/usr/bin/pgbouncer'].find((p) => p && existsSync(p));
const directory = mkdtempSync(join(tmpdir(), 'mps-pooler-'));
chmodSync(directory, 0o777);
const running = [];
after(() => {
  for (const child of running) child.kill();
  rmSync(directory, { recursive: true });
});

async function until(what, holds) {
  for (let n = 0; n < 100; n++) {
    if (await holds()) return;
    await new Promise((done) => setTimeout(done, 100));
  }
  assert.fail(`${what}: not within ten seconds`);
}

/** What the document says to put into PostgREST's configuration. */
const configured = (of) => surroundings.split('```conf\n').slice(1).map((b) => b.split('```')[0]).find((b) => b.includes(of));

/** A PostgREST of our own; what it is configured with can be changed while it runs. */
async function postgrest(name, lines, { host = process.env.PGHOST, port = process.env.PGPORT } = {}) {
  const file = join(directory, `${name}.conf`);
  const [listens, admin] = [await freePort(), await freePort()];
  const configure = (more) =>
    writeFileSync(
      file,
      `db-uri = "host='${host}' port=${port} user=authenticator dbname='${database}'"
db-anon-role = "anon"
jwt-secret = "${process.env.MPS_JWT_SECRET}"
server-host = "127.0.0.1"
server-port = ${listens}
admin-server-port = ${admin}
${more}
`,
    );
  configure(lines);
  const { PGUSER, PGDATABASE, ...environment } = process.env;
  const child = spawn(binary, [file], { env: environment, stdio: 'ignore' });
  running.push(child);
  await until('PostgREST is ready', async () => (await fetch(`http://127.0.0.1:${admin}/ready`).catch(() => ({}))).status === 200);
  const rpc = async (claims, fn, args = {}) => {
    const answer = await fetch(`http://127.0.0.1:${listens}/rpc/${fn}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${sign(claims)}`, 'content-type': 'application/json', 'content-profile': 'app' },
      body: JSON.stringify(args),
    });
    return { status: answer.status, body: await answer.json() };
  };
  const read = async (claims, path) => {
    const headers = { authorization: `Bearer ${sign(claims)}`, 'accept-profile': 'app' };
    const answer = await fetch(`http://127.0.0.1:${listens}/${path}`, { headers });
    return { status: answer.status, body: await answer.json() };
  };
  return { configure, rpc, read };
}

const server = { role: 'service_role' };

test('behind pgbouncer in transaction mode, with the two options of the document', { skip: !pgbouncer && 'there is no pgbouncer' }, async () => {
  const port = await freePort();
  writeFileSync(
    join(directory, 'pgbouncer.ini'),
    `[databases]
${database} = host=${process.env.PGHOST} port=${process.env.PGPORT}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
pool_mode = transaction
auth_type = trust
auth_file = ${directory}/users
unix_socket_dir =
default_pool_size = 3
`,
  );
  writeFileSync(join(directory, 'users'), '"authenticator" ""\n');
  // It does not run as root.
  const as = userInfo().uid === 0 ? ['-u', 'postgres'] : [];
  running.push(spawn(pgbouncer, ['-q', ...as, join(directory, 'pgbouncer.ini')], { stdio: 'ignore' }));
  const options = configured('db-prepared-statements');
  assert.match(options, /db-channel-enabled = false/);
  const api = await postgrest('pooled', `db-schemas = "app"\ndb-pool = 10\n${options}`, { host: '127.0.0.1', port });

  const code = `SHOP-${randomUUID().slice(0, 8)}`;
  const till = { role: 'authenticated', sub: randomUUID() };
  assert.equal((await api.rpc(server, 'create_merchant', { p_code: code, p_name: 'Pooled Cafe' })).status, 200);
  assert.equal((await api.rpc(server, 'set_merchant_user', { p_merchant_code: code, p_user_id: till.sub })).status, 200);
  // Many at once on three connections: nobody is ever somebody else.
  await Promise.all(
    Array.from({ length: 12 }, async () => {
      const member = { role: 'authenticated', sub: randomUUID() };
      const [me] = (await api.rpc(member, 'register_member', { p_name: 'Lin Xia' })).body;
      assert.equal(me.member_id, member.sub);
      const recharge = { p_personal_card_id: me.card_id, p_amount: 50, p_payment_method: 'cash' };
      assert.equal((await api.rpc(server, 'user_recharge_personal_card', recharge)).status, 200);
      for (let n = 0; n < 5; n++) {
        const [{ qr_plain }] = (await api.rpc(member, 'rotate_card_qr', { p_card_id: me.card_id })).body;
        const sale = { p_merchant_code: code, p_qr_plain: qr_plain, p_amount: 4 };
        const [paid] = (await api.rpc(till, 'merchant_charge_by_qr', sale)).body;
        const back = { p_merchant_code: code, p_original_tx_no: paid.tx_no, p_refund_amount: 1 };
        assert.equal((await api.rpc(till, 'merchant_refund_tx', back)).status, 200);
        const cards = (await api.read(member, 'v_user_cards?select=card_id')).body;
        assert.deepEqual(cards, [{ card_id: me.card_id }]);
        assert.deepEqual((await api.read(server, 'v_user_cards?select=card_id')).body, [], 'a claim that stayed');
      }
      assert.equal((await api.read(member, 'v_user_cards?select=balance')).body[0].balance, 35);
    }),
  );
});

test('a schema that was added: reload config takes it, reload schema need not', async () => {
  // With db-config, as it comes, this release reads its file anew for either; without it for the one alone.
  for (const more of ['', 'db-config = false\n']) {
    const api = await postgrest('schemas', `${more}db-schemas = "public"`);
    const asked = () => api.rpc(server, 'get_settings');
    assert.equal((await asked()).status, 406);
    api.configure(`${more}db-schemas = "public, app"`);
    if (more) {
      psql("NOTIFY pgrst, 'reload schema'");
      await new Promise((done) => setTimeout(done, 1000));
      assert.equal((await asked()).status, 406);
    }
    psql("NOTIFY pgrst, 'reload config'; NOTIFY pgrst, 'reload schema'");
    await until('the schema is served', async () => (await asked()).status === 200);
  }
});

test('a user of another issuer gets a UUID before each call', async () => {
  // The function of the document, as it stands there.
  const sql = surroundings.split('```sql\n').map((b) => b.split('```')[0]).find((b) => b.includes('FUNCTION company.map_user'));
  psql(`CREATE SCHEMA company; ${sql.replace('app_role', 'authenticated, service_role, anon')}`);
  const api = await postgrest('mapped', `db-schemas = "app"\n${configured('db-pre-request')}`);
  const theirs = { role: 'authenticated', iss: 'https://securetoken.google.com/my-shop', sub: 'kZ3qT9' };
  const [me] = (await api.rpc(theirs, 'register_member', { p_name: 'Wang Fang' })).body;
  assert.equal(me.member_id, '6e80f1d6-d3cc-1dde-df2e-c5bfaeed7d84');
  assert.equal((await api.read(theirs, 'v_user_cards')).body.length, 1);
  const another = (await api.rpc({ ...theirs, sub: 'kZ3qT8' }, 'register_member', { p_name: 'Wang Fang' })).body[0];
  assert.notEqual(another.member_id, me.member_id);
  // Whose sub is a UUID already, or who is nobody, is as before.
  const own = randomUUID();
  assert.equal((await api.rpc({ role: 'authenticated', sub: own }, 'register_member', { p_name: 'Li Lei' })).body[0].member_id, own);
  const stranger = await api.rpc({ ...theirs, iss: 'https://elsewhere' }, 'register_member', { p_name: 'X' });
  assert.deepEqual([stranger.status, stranger.body.message], [401, 'NOT_AUTHENTICATED']);
  assert.equal((await api.rpc(server, 'get_settings')).status, 200);
});

test('roles that came after the extension: permission denied, until they have a level', async () => {
  const late = `late_${database}`;
  psql(`CREATE ROLE ${late} NOLOGIN NOINHERIT; GRANT ${late} TO authenticator`);
  try {
    const api = await postgrest('late', 'db-schemas = "app"');
    const claims = { role: late, sub: randomUUID() };
    const refused = await api.rpc(claims, 'register_member', { p_name: 'Li Lei' });
    assert.deepEqual([refused.status, refused.body.message], [403, 'permission denied for schema app']);
    psql(`SELECT sec.grant_api('${late}', 'client')`);
    assert.equal((await api.rpc(claims, 'register_member', { p_name: 'Li Lei' })).status, 200);
  } finally {
    psql(`SELECT sec.revoke_api('${late}', 'client'); DROP OWNED BY ${late}; DROP ROLE ${late}`);
  }
});

test('what service_role sees: every row of the tables, and through the views only what is of its sub', async () => {
  const api = await postgrest('views', 'db-schemas = "app"');
  const member = { role: 'authenticated', sub: randomUUID() };
  await api.rpc(member, 'register_member', { p_name: 'Li Lei' });
  assert.ok((await api.read(server, 'member_profiles?select=id')).body.length >= 1);
  assert.deepEqual((await api.read(server, 'v_user_cards?select=card_id')).body, []);
  assert.equal((await api.read({ ...server, sub: member.sub }, 'v_user_cards?select=card_id')).body.length, 1);
});
