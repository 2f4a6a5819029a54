// What payment gateways send, through the very nginx and PostgREST of deploy/: byte for byte in, and nothing else of anything.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { backend, http, sign } from './lib/api.mjs';
import { row } from './lib/expect.mjs';
import {
  alipayNotice, alipayTrade, inShanghai, newCertificate, newKey, send, startGateway, wechatHeaders, wechatNotice,
} from './lib/gateway.mjs';
import { books, hold, psql, psqlError } from './lib/psql.mjs';
import { newMember, unique } from './lib/shop.mjs';

const apiv3Key = '0123456789abcdef0123456789ABCDEF';
const certificate = newCertificate('wechat.example.com');
const publicKey = { ...newKey(), serial: 'PUB_KEY_ID_0119000001092026112600000001' };
const alipay = newKey();
const [wechatPath, alipayPath] = ['/notify/wechat-main', '/notify/alipay-main'];
let front, behind, stop;

before(async () => {
  psql(`
    DO $$ BEGIN IF to_regrole('mps_gateway') IS NULL THEN CREATE ROLE mps_gateway LOGIN NOINHERIT; END IF; END $$;
    SELECT sec.grant_api('mps_gateway', 'gateway');
    SELECT app.set_gateway_account('wechat-main', 'wechat', '{"mchid": "1900000109", "appids": ["wxd678efh567hg6787"]}'),
           app.set_gateway_account('alipay-main', 'alipay', '{"app_id": "2014072300007148", "seller_ids": ["2088101106499364"]}'),
           app.set_gateway_key('wechat-main', 'wechat_apiv3_key', 'first', :'apiv3'),
           app.set_gateway_key('wechat-main', 'wechat_public_key', :'serial', :'certificate'),
           app.set_gateway_key('wechat-main', 'wechat_public_key', :'id', :'public'),
           app.set_gateway_key('alipay-main', 'alipay_public_key', 'first', :'alipay')`,
  {
    apiv3: apiv3Key, serial: certificate.serial, certificate: certificate.pem,
    id: publicKey.serial, public: publicKey.pem, alipay: alipay.pem,
  });
  ({ front, behind, stop } = await startGateway());
});

after(async () => {
  await stop?.();
  // What is kept plain would be found in the other files' database.
  psql("DELETE FROM sec.gateway_keys WHERE account IN ('wechat-main', 'alipay-main')");
});

const toWechat = (body, headers = wechatHeaders(body, certificate)) => send(front, { path: wechatPath, body, headers });
const toAlipay = (body, headers = {}) => send(front, { path: alipayPath, body, headers });

/** A member who waits for a recharge to be paid. */
async function waiting(amount, method) {
  const member = await newMember();
  const asked = row(await member.rpc('user_recharge_personal_card', {
    p_personal_card_id: member.card, p_amount: amount, p_payment_method: method }));
  assert.equal(asked.status, 'processing');
  return { ...member, txNo: asked.tx_no };
}

const payment = (txNo, fen, more = {}) => ({
  mchid: '1900000109', appid: 'wxd678efh567hg6787', out_trade_no: txNo, transaction_id: unique('4200'), trade_type: 'JSAPI',
  trade_state: 'SUCCESS', trade_state_desc: '支付成功', bank_type: 'OTHERS', attach: '', success_time: `${inShanghai()}+08:00`,
  payer: { openid: 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o' },
  amount: { total: fen, payer_total: fen, currency: 'CNY', payer_currency: 'CNY' }, ...more,
});
const paidAtWechat = (txNo, fen) => wechatNotice('TRANSACTION.SUCCESS', payment(txNo, fen), apiv3Key);

const balance = ({ card }) => psql("SELECT balance FROM app.personal_cards WHERE id = :'card'", { card });
const outcome = (txNo) =>
  psql("SELECT string_agg(outcome, ' ' ORDER BY id) FROM app.gateway_events WHERE out_trade_no = :'tx'", { tx: txNo });
const tallies = () => JSON.parse(psql("SELECT coalesce(json_object_agg(k, n), '{}') FROM (SELECT account || ' ' || kind AS k, "
  + 'sum(callbacks) AS n FROM app.gateway_tallies GROUP BY 1) x'));

/** For what a callback is refused, as it is recorded, and what answered it. Nothing is credited. */
async function refusal(sent) {
  const [before, known] = [books(), tallies()];
  const answer = await sent();
  const kinds = Object.entries(tallies()).filter(([kind, n]) => n !== (known[kind] ?? 0)).map(([kind]) => kind);
  assert.equal(books(), before);
  return { ...answer, reason: kinds.join(', ') };
}

test('nothing but a POST to the path of an account is answered', async (t) => {
  const before = books();
  for (const path of ['/', '/rpc/notify', '/notify', '/notify/', '/notify/other', `${wechatPath}/`, `${wechatPath}/x`, '/rpc/get_settings',
    '/mps_gateway', '/transactions', '/notify/WECHAT-MAIN']) {
    await t.test(`POST ${path}`, async () => assert.equal((await send(front, { path, body: 'x' })).status, 404));
  }
  for (const method of ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
    for (const path of [wechatPath, alipayPath]) {
      await t.test(`${method} ${path}`, async () => assert.equal((await send(front, { path, method, body: '' })).status, 405));
    }
  }
  assert.equal(books(), before);
});

test('a body has 64 kB at most', async () => {
  const before = books();
  assert.equal((await toWechat('x'.repeat(65537))).status, 413);
  assert.equal((await send(front, { path: alipayPath, body: 'x'.repeat(65537) })).status, 413);
  // In pieces, without a length.
  const chunked = { path: wechatPath, headers: { 'Transfer-Encoding': 'chunked' } };
  assert.equal((await send(front, { ...chunked, body: 'x'.repeat(65537) })).status, 413);
  assert.equal(books(), before);
});

test('the second PostgREST has one function, and no other way to call it', async (t) => {
  const jwt = sign({ role: 'service_role' });
  const cases = {
    'a function of app': [{ path: '/rpc/get_settings' }, 404],
    'the same in its schema': [{ path: '/rpc/get_settings', headers: { 'Content-Profile': 'app' } }, 406],
    'a table of app': [{ path: '/transactions', method: 'GET', headers: { 'Accept-Profile': 'app' } }, 406],
    'a table': [{ path: '/transactions', method: 'GET' }, 404],
    'the schema of the checks': [{ path: '/rpc/uid', headers: { 'Content-Profile': 'sec' } }, 406],
    'the page': [{ path: '/', method: 'GET' }, 404],
    'by GET': [{ path: '/rpc/notify', method: 'GET' }, 404],
    'as a backend, with the members’ secret': [{ path: '/rpc/notify', headers: { Authorization: `Bearer ${jwt}` } }, 500],
    'with JSON': [{ path: '/rpc/notify', headers: { 'Content-Type': 'application/json' }, body: '{}' }, 404],
    'with a form': [{ path: '/rpc/notify', headers: { 'Content-Type': 'application/x-www-form-urlencoded' }, body: 'a=b' }, 404],
    'without a proxy': [{ path: '/rpc/notify', headers: { 'Content-Type': 'application/octet-stream' } }, 404, 'GATEWAY_ACCOUNT_NOT_FOUND'],
  };
  for (const [name, [what, status, message]] of Object.entries(cases)) {
    await t.test(name, async () => {
      const before = books();
      const answer = await send(behind, { ...what, headers: { Accept: '*/*', ...what.headers } });
      assert.equal(answer.status, status, answer.text);
      if (message) assert.equal(JSON.parse(answer.text).message, message);
      assert.equal(books(), before);
    });
  }
});

test('the members’ PostgREST does not reach what gateways call', async () => {
  const headers = { 'content-profile': 'mps_gateway', 'content-type': 'application/octet-stream' };
  for (const jwt of [sign({ role: 'service_role' }), sign({ role: 'authenticated' }), undefined]) {
    const answer = await http('POST', 'rpc/notify', { jwt, body: 'x', headers });
    assert.deepEqual([answer.status, JSON.parse(answer.text).code], [406, 'PGRST106']);
  }
  const answer = await backend.rpc('notify', {});
  assert.deepEqual([answer.status, answer.error.code], [404, 'PGRST202']);
  // Nor does the role of this door log in there.
  const other = await http('POST', 'rpc/get_settings', { jwt: sign({ role: 'mps_gateway' }), body: '{}' });
  assert.deepEqual([other.status, JSON.parse(other.text).code], [403, '42501']);
  for (const role of ['anon', 'authenticated', 'service_role']) {
    assert.equal(psqlError(`SET ROLE ${role}; SELECT mps_gateway.notify('')`), '42501', role);
  }
});

test('without its level the role of the proxy is refused', async () => {
  const before = psql('SELECT count(*) FROM app.transactions');
  psql("SELECT sec.revoke_api('mps_gateway', 'gateway')");
  try {
    for (const answer of [await toWechat('x'), await send(front, { path: alipayPath, body: 'x' })]) {
      assert.deepEqual([answer.status, JSON.parse(answer.text).code], [401, '42501'], answer.text);
    }
  } finally {
    psql("SELECT sec.grant_api('mps_gateway', 'gateway')");
  }
  assert.equal(psql('SELECT count(*) FROM app.transactions'), before);
});

test('WeChat Pay is answered 204 without a body, and the card is credited: by a certificate, and by a public key', async (t) => {
  for (const [name, key] of Object.entries({ certificate, publicKey })) {
    await t.test(name, async () => {
      const member = await waiting(88.88, 'wechat');
      const body = paidAtWechat(member.txNo, 8888);
      for (let repeated = 0; repeated < 3; repeated += 1) {
        const { status, text } = await toWechat(body, wechatHeaders(body, key));
        assert.deepEqual([status, text], [204, '']);
        assert.deepEqual([balance(member), outcome(member.txNo)], ['88.88', 'credited']);
      }
      assert.equal(psql("SELECT key_id FROM app.gateway_events WHERE out_trade_no = :'tx'", { tx: member.txNo }),
        key.serial.replace(/^0+/, ''));
    });
  }
});

test('Alipay is answered success as text, and the card is credited: in UTF-8, and in GBK', async (t) => {
  const gbkOf = { 会: [0xbb, 0xe1], 员: [0xd4, 0xb1], 充: [0xb3, 0xe4], 值: [0xd6, 0xb5] };
  const gbk = (text) => Buffer.from([...text].flatMap((sign) => gbkOf[sign] ?? [sign.charCodeAt(0)]));
  for (const [charset, encode] of Object.entries({ 'utf-8': Buffer.from, GBK: gbk })) {
    await t.test(charset, async () => {
      const member = await waiting(66.6, 'alipay');
      const body = alipayNotice(alipayTrade(member.txNo, '66.60', { charset, subject: '会员充值' }), alipay.privateKey, encode);
      for (let repeated = 0; repeated < 3; repeated += 1) {
        const { status, text, headers } = await toAlipay(body, { 'Content-Type': `application/x-www-form-urlencoded; charset=${charset}` });
        assert.deepEqual([status, text, headers['content-type']], [200, 'success', 'text/plain']);
        assert.deepEqual([balance(member), outcome(member.txNo)], ['66.60', 'credited']);
      }
    });
  }
});

test('a body arrives byte for byte: one that is signed is refused for what it is, one bit beside it for its signature', async (t) => {
  const bodies = {
    NUL: Buffer.from('{"id": "\0"}'),
    'only NULs': Buffer.alloc(100),
    'invalid UTF-8': Buffer.from([0x7b, 0xff, 0xfe, 0xc0, 0x80, 0xed, 0xa0, 0x80, 0x7d]),
    BOM: Buffer.from('\ufeff{}'),
    'line ends': Buffer.from('\r\n\r\n{\n\r\n'),
    'every byte': Buffer.from(Array.from({ length: 256 }, (_, n) => n)),
    '64 kB': Buffer.alloc(65536, 0xe4),
    nothing: Buffer.alloc(0),
  };
  for (const [name, body] of Object.entries(bodies)) {
    await t.test(name, async () => {
      const signed = await refusal(() => toWechat(body));
      assert.deepEqual([signed.status, signed.reason, signed.headers['content-type']],
        [400, 'wechat-main json_form', 'application/json'], signed.text);
      assert.deepEqual(JSON.parse(signed.text), { code: 'FAIL', message: 'What should be a JSON object is none.' });
      const headers = wechatHeaders(body, certificate);
      const other = body.length ? Buffer.from(body) : Buffer.from([0]);
      if (body.length) other[body.length - 1] ^= 1;
      const forged = await refusal(() => toWechat(other, headers));
      assert.deepEqual([forged.status, forged.reason], [401, 'wechat-main signature_wrong'], forged.text);
    });
  }
  await t.test('in pieces, without a length', async () => {
    const body = bodies['every byte'];
    const answer = await refusal(() => toWechat(body, { ...wechatHeaders(body, certificate), 'Transfer-Encoding': 'chunked' }));
    assert.deepEqual([answer.status, answer.reason], [400, 'wechat-main json_form']);
  });
  await t.test('as what the database keeps', async () => {
    const member = await waiting(1, 'wechat');
    const body = `\n${paidAtWechat(member.txNo, 100)}\r\n`;
    assert.equal((await toWechat(body)).status, 204);
    const kept = psql("SELECT encode(body, 'base64') FROM app.gateway_events WHERE out_trade_no = :'tx'", { tx: member.txNo });
    assert.equal(Buffer.from(kept, 'base64').toString(), body);
  });
});

test('no header of a client says whose a notice is, as whom it comes, or how it is answered', async (t) => {
  const jwt = sign({ role: 'service_role' });
  const cases = {
    'another gateway and account': { 'X-Mps-Gateway': 'alipay', 'X-Mps-Account': 'alipay-main' },
    'the same in small letters': { 'x-mps-gateway': 'alipay', 'x-mps-account': 'nobody' },
    'the same twice': { 'X-Mps-Account': ['nobody', 'alipay-main'], 'X-Mps-Gateway': ['alipay', 'alipay'] },
    'the same with underscores': { X_Mps_Gateway: 'alipay', X_Mps_Account: 'alipay-main' },
    'a JWT': { Authorization: `Bearer ${jwt}` },
    'a JWT that is none': { Authorization: 'Bearer x', apikey: 'x' },
    'other profiles': { 'Accept-Profile': 'app', 'Content-Profile': 'app' },
    preferences: { Prefer: 'tx=rollback, return=minimal, params=single-object, handling=strict, max-affected=0' },
    'other types': { Accept: 'application/json', 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' },
    'a form': { Accept: 'text/csv', 'Content-Type': 'application/x-www-form-urlencoded' },
    'no type': { Accept: '' },
    'a range': { Range: '0-0', 'Range-Unit': 'items' },
    'another method': { 'X-HTTP-Method-Override': 'GET', 'X-HTTP-Method': 'DELETE' },
    'what Supabase’s gateway sets': { 'X-Forwarded-For': '10.0.0.1', 'X-Forwarded-Prefix': '/rpc/get_settings', Forwarded: 'for=x' },
    'bytes that are no text': { 'X-Anything': '\xff\xfe', Cookie: '\xff' },
    'another host': { Host: '127.0.0.1' },
  };
  for (const [name, headers] of Object.entries(cases)) {
    await t.test(name, async () => {
      const [paidBy, other] = [await waiting(5, 'wechat'), await waiting(6, 'alipay')];
      const body = paidAtWechat(paidBy.txNo, 500);
      const answer = await toWechat(body, { ...headers, ...wechatHeaders(body, certificate) });
      assert.deepEqual([answer.status, answer.text, balance(paidBy)], [204, '', '5.00']);
      const form = alipayNotice(alipayTrade(other.txNo, '6.00'), alipay.privateKey);
      const wechats = Object.fromEntries(Object.entries(headers).map(([n, v]) => [n, v === 'alipay' ? 'wechat' : v]));
      const success = await toAlipay(form, wechats);
      assert.deepEqual([success.status, success.text, balance(other)], [200, 'success', '6.00']);
    });
  }
  await t.test('a query', async () => {
    const member = await waiting(7, 'wechat');
    const body = paidAtWechat(member.txNo, 700);
    const path = `${wechatPath}?x-mps-account=alipay-main&columns=a&select=b`;
    assert.equal((await send(front, { path, body, headers: wechatHeaders(body, certificate) })).status, 204);
    assert.equal(balance(member), '7.00');
  });
});

test('what is not signed by the gateway for this account is turned away, and recorded under its reason', async (t) => {
  const member = await waiting(9, 'wechat');
  const [body, form] = [paidAtWechat(member.txNo, 900), alipayNotice(alipayTrade(member.txNo, '9.00'), alipay.privateKey)];
  const headers = wechatHeaders(body, certificate);
  const stranger = newKey();
  const old = Math.floor(Date.now() / 1000) - 400;
  const without = (name) => Object.fromEntries(Object.entries(headers).filter(([n]) => n !== name));
  const signedByOther = wechatHeaders(body, { ...stranger, serial: certificate.serial });
  const cases = {
    'WeChat: another key': [() => toWechat(body, signedByOther), 401, 'wechat-main signature_wrong'],
    'WeChat: an unknown serial': [
      () => toWechat(body, wechatHeaders(body, { ...stranger, serial: 'ABCDEF' })), 401, 'wechat-main serial_unknown'],
    'WeChat: too old': [() => toWechat(body, wechatHeaders(body, certificate, { at: old })), 401, 'wechat-main timestamp_outside'],
    'WeChat: a probe': [
      () => toWechat(body, { ...headers, 'Wechatpay-Signature': 'WECHATPAY/SIGNTEST/abcd' }), 401, 'wechat-main signature_wrong'],
    'WeChat: no signature': [() => toWechat(body, without('Wechatpay-Signature')), 401, 'wechat-main header_missing'],
    'WeChat: nothing': [() => toWechat('', {}), 401, 'wechat-main header_missing'],
    'WeChat: its headers with underscores': [
      () => toWechat(body, Object.fromEntries(Object.entries(headers).map(([n, v]) => [n.replace('-', '_'), v]))),
      401, 'wechat-main header_missing'],
    'WeChat: another APIv3 key': [
      () => toWechat(wechatNotice('TRANSACTION.SUCCESS', payment(member.txNo, 900), apiv3Key.toLowerCase())),
      400, 'wechat-main decryption_failed'],
    'WeChat: another merchant': [
      () => toWechat(wechatNotice('TRANSACTION.SUCCESS', payment(member.txNo, 900, { mchid: '1900000110' }), apiv3Key)),
      400, 'wechat-main account_mchid'],
    'WeChat: the form of Alipay': [() => toWechat(form, {}), 401, 'wechat-main header_missing'],
    'Alipay: another key': [
      () => toAlipay(alipayNotice(alipayTrade(member.txNo, '9.00'), stranger.privateKey)), 400, 'alipay-main signature_wrong'],
    'Alipay: another amount': [() => toAlipay(form.replace('9.00', '9.01')), 400, 'alipay-main signature_wrong'],
    'Alipay: another seller': [
      () => toAlipay(alipayNotice(alipayTrade(member.txNo, '9.00', { seller_id: '2088101106499365' }), alipay.privateKey)),
      400, 'alipay-main account_seller_id'],
    'Alipay: the notice of WeChat': [() => toAlipay(body, headers), 400, 'alipay-main form_encoding'],
  };
  for (const [name, [sent, status, reason]] of Object.entries(cases)) {
    await t.test(name, async () => {
      const answer = await refusal(sent);
      assert.deepEqual([answer.status, answer.reason], [status, reason], answer.text);
      if (name.startsWith('WeChat')) assert.equal(JSON.parse(answer.text).code, 'FAIL');
      else assert.deepEqual([answer.text, answer.headers['content-type']], ['failure', 'text/plain']);
    });
  }
  await t.test('bytes that are no text in a header that is signed stop at nginx', async () => {
    const answer = await toWechat(body, { ...headers, 'Wechatpay-Nonce': '\xff\xfe' });
    assert.deepEqual([answer.status, answer.headers.server], [400, 'nginx']);
  });
  await t.test('a header that is signed, twice', async () => {
    for (const twice of [[headers['Wechatpay-Signature'], 'x'], ['x', headers['Wechatpay-Signature']]]) {
      const { status } = await toWechat(paidAtWechat('nothing of ours', 1), { ...headers, 'Wechatpay-Signature': twice });
      assert.equal(status, 401);
    }
  });
  assert.equal(balance(member), '0.00');
  assert.equal((await toWechat(body)).status, 204);
  assert.equal(balance(member), '9.00');
});

test('an account that is not there, and one that is turned off', async () => {
  const unknown = await send(behind, { path: '/rpc/notify', body: 'x', headers: {
    'Content-Type': 'application/octet-stream', Accept: '*/*', 'X-Mps-Gateway': 'wechat', 'X-Mps-Account': 'nobody' } });
  assert.deepEqual([unknown.status, JSON.parse(unknown.text).message], [404, 'GATEWAY_ACCOUNT_NOT_FOUND']);
  const other = await send(behind, { path: '/rpc/notify', body: 'x', headers: {
    'Content-Type': 'application/octet-stream', Accept: '*/*', 'X-Mps-Gateway': 'alipay', 'X-Mps-Account': 'wechat-main' } });
  assert.deepEqual([other.status, other.text], [400, 'failure']);
  const config = { mchid: '1900000109', appids: ['wxd678efh567hg6787'] };
  const set = (more) => psql("SELECT app.set_gateway_account('wechat-main', 'wechat', :'config')",
    { config: JSON.stringify({ ...config, ...more }) });
  set({ active: false });
  try {
    const answer = await refusal(() => toWechat('x'));
    assert.deepEqual([answer.status, answer.reason], [400, 'wechat-main account_inactive']);
  } finally {
    set({});
  }
});

test('a notice that is held up has its answer within five seconds, and is credited when it comes again', async () => {
  const member = await waiting(2, 'wechat');
  const body = paidAtWechat(member.txNo, 200);
  const holder = await hold("SELECT FROM app.personal_cards WHERE id = :'card' FOR UPDATE", { card: member.card });
  const from = Date.now();
  try {
    const { status } = await toWechat(body);
    const took = Date.now() - from;
    assert.ok(status === 500 && took > 2500 && took < 5000, `${status} after ${took} ms`);
  } finally {
    await holder.release();
  }
  assert.equal(balance(member), '0.00');
  assert.deepEqual([(await toWechat(body)).status, balance(member)], [204, '2.00']);
});

test('while nothing may be written the gateway is told to come again', async () => {
  const member = await waiting(3, 'wechat');
  const body = paidAtWechat(member.txNo, 300);
  psql("SELECT * FROM app.set_mode('read_only', 'a backup')");
  try {
    assert.equal((await toWechat(body)).status, 409);
  } finally {
    psql("SELECT * FROM app.set_mode('normal', 'done')");
  }
  assert.equal(balance(member), '0.00');
  assert.deepEqual([(await toWechat(body)).status, balance(member)], [204, '3.00']);
});

test('who sends without end is told to come later, and is taken then', async () => {
  const [before, began, answered] = [books(), Date.now(), (await toWechat('x')).status];
  let statuses = [];
  while (!statuses.includes(503) && Date.now() - began < 30_000) {
    statuses = (await Promise.all(Array.from({ length: 50 }, () => toWechat('x')))).map((answer) => answer.status);
  }
  assert.deepEqual([...new Set(statuses)].sort(), [answered, 503].sort());
  assert.equal(books(), before);
  await new Promise((done) => setTimeout(done, 500));
  assert.equal((await toWechat('x')).status, answered);
});
