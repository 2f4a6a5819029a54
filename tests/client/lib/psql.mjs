// The database from inside, as its superuser: what a test needs to prepare or to look at behind the API's back.
import { execFileSync, spawn } from 'node:child_process';

const database = process.env.MPS_TEST_DB;
if (!database) throw new Error('MPS_TEST_DB is not set: run tests/client/run');

/** Runs SQL; returns psql's output, columns separated by `|`, without headings. Each of `vars` is `:'name'` in the SQL. */
export function psql(sql, vars = {}) {
  const set = Object.entries(vars).flatMap(([name, value]) => ['-v', `${name}=${value}`]);
  return execFileSync('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', ...set, '-d', database], {
    input: sql,
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'pipe'],
  }).trimEnd();
}

/** The same, for a statement that must fail: returns SQLSTATE and message. */
export function psqlError(sql, vars = {}) {
  try {
    psql(`\\set VERBOSITY sqlstate\n${sql}`, vars);
  } catch (failure) {
    return /^ERROR:\s+(\w{5})$/m.exec(failure.stderr)?.[1] ?? failure.stderr;
  }
  return 'no error';
}

/** A transaction that has run some SQL and stays open, with its locks, until it is released. */
export async function hold(sql, vars = {}) {
  const set = Object.entries(vars).flatMap(([name, value]) => ['-v', `${name}=${value}`]);
  const session = spawn('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', ...set, '-d', database], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise((done) => session.on('exit', done));
  session.stdin.write(`BEGIN;\n${sql};\n\\echo held\n`);
  const held = new Promise((done) => session.stdout.on('data', (text) => String(text).includes('held') && done(true)));
  if ((await Promise.race([held, ended])) !== true) throw new Error(`psql could not: ${sql}`);
  return { release: () => (session.stdin.end('ROLLBACK;\n'), ended) };
}

/** Everything that an RPC could have moved, in one line: equal before and after a request that must move nothing. */
export function books() {
  return psql(`
    SELECT (SELECT count(*) FROM app.transactions),
           (SELECT sum(balance) FROM app.personal_cards), (SELECT sum(balance) FROM app.enterprise_cards),
           (SELECT sum(points) FROM app.personal_cards), (SELECT count(*) FROM app.point_ledger),
           (SELECT coalesce(sum(refunded_amount), 0) FROM app.transactions),
           (SELECT count(*) FROM app.idempotency_keys), (SELECT count(*) FROM app.external_orders),
           (SELECT count(*) FROM audit.event_log),
           (SELECT md5(string_agg(x::text, ',' ORDER BY x::text)) FROM (
               SELECT c.id, c.status::text, c.qr_hash, c.expires_at FROM app.personal_cards c
               UNION ALL SELECT c.id, c.status::text, NULL, c.expires_at FROM app.enterprise_cards c
               UNION ALL SELECT b.member_id, b.role::text, b.qr_hash, NULL FROM app.enterprise_card_bindings b
               UNION ALL SELECT u.user_id, u.role, NULL, NULL FROM app.merchant_users u
               UNION ALL SELECT m.id, m.status, NULL, NULL FROM app.member_profiles m) x)`);
}
