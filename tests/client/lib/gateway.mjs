// What payment gateways send, signed by Node's own crypto; and what stands between them and the database: nginx and a second
// PostgREST, with the configuration of deploy/, in which nothing is changed but ports and paths.
import { execFileSync, spawn } from 'node:child_process';
import { createCipheriv, createSign, generateKeyPairSync, randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';

const top = fileURLToPath(new URL('../../../', import.meta.url));
const run = (program, args, options = {}) => execFileSync(program, args, { encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'], ...options });
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** An RSA key, with its public half as PEM. */
export function newKey() {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { privateKey, pem: publicKey.export({ type: 'spki', format: 'pem' }) };
}

/** A key with a certificate, whose serial number is its id: here with a zero in front, as openssl writes it in whole bytes. */
export function newCertificate(name) {
  const dir = mkdtempSync(join(tmpdir(), 'mps-certificate-'));
  try {
    const [key, certificate] = [join(dir, 'key.pem'), join(dir, 'certificate.pem')];
    run('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '30', '-subj', `/CN=${name}`,
      '-set_serial', `0x06${randomBytes(18).toString('hex')}`,
      '-addext', `subjectAltName=DNS:${name}`, '-keyout', key, '-out', certificate]);
    const serial = run('openssl', ['x509', '-in', certificate, '-noout', '-serial']).trim().replace('serial=', '');
    return { privateKey: readFileSync(key, 'utf8'), pem: readFileSync(certificate, 'utf8'), serial };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

const rsaSha256 = (key, message) => createSign('RSA-SHA256').update(message).sign(key, 'base64');

/** The headers that WeChat Pay signs a body with. */
export function wechatHeaders(body, { privateKey, serial }, { at = Math.floor(Date.now() / 1000) } = {}) {
  const nonce = randomBytes(16).toString('hex');
  const signature = rsaSha256(privateKey, Buffer.concat([Buffer.from(`${at}\n${nonce}\n`), Buffer.from(body), Buffer.from('\n')]));
  return {
    'Wechatpay-Timestamp': String(at),
    'Wechatpay-Nonce': nonce,
    'Wechatpay-Signature': signature,
    'Wechatpay-Serial': serial,
    'Wechatpay-Signature-Type': 'WECHATPAY2-SHA256-RSA2048',
  };
}

/** A notice of WeChat Pay as it is sent: the resource under AES-256-GCM. */
export function wechatNotice(type, resource, apiv3Key, { id = randomBytes(18).toString('hex') } = {}) {
  const original = type.split('.')[0].toLowerCase();
  const nonce = randomBytes(6).toString('hex');
  const cipher = createCipheriv('aes-256-gcm', Buffer.from(apiv3Key), Buffer.from(nonce));
  cipher.setAAD(Buffer.from(original));
  const ciphertext = Buffer.concat([cipher.update(JSON.stringify(resource), 'utf8'), cipher.final(), cipher.getAuthTag()]);
  return JSON.stringify({
    id, create_time: '2026-11-26T10:34:56+08:00', resource_type: 'encrypt-resource', event_type: type, summary: '支付成功',
    resource: {
      original_type: original, algorithm: 'AEAD_AES_256_GCM', ciphertext: ciphertext.toString('base64'),
      associated_data: original, nonce,
    },
  });
}

/** How Shanghai's clock writes this moment, without the zone. */
export const inShanghai = () => new Date(Date.now() + 8 * 3600 * 1000).toISOString().slice(0, 19);

/** The application and the seller of the payments that Alipay tells of here. */
export const alipayAccount = { app_id: '2014072300007148', seller_id: '2088101106499364' };

/** What Alipay tells of an order that was paid. */
export const alipayTrade = (order, yuan, more = {}) => ({
  notify_time: inShanghai().replace('T', ' '), notify_type: 'trade_status_sync',
  notify_id: `ac05099524730693a8b330c5ecf72da9-${randomBytes(4).toString('hex')}`, charset: 'utf-8', version: '1.0', sign_type: 'RSA2',
  trade_no: `2013112011001004330000-${randomBytes(4).toString('hex')}`, out_trade_no: order, buyer_id: '2088102122524333',
  ...alipayAccount, trade_status: 'TRADE_SUCCESS', total_amount: yuan, receipt_amount: yuan, subject: 'recharge', body: 'a+b & c=d %41',
  gmt_payment: inShanghai().replace('T', ' '), ...more,
});

const plain = /^[A-Za-z0-9._*-]$/;
const percentEncoded = (bytes) => [...bytes].map((byte) => {
  const sign = String.fromCharCode(byte);
  return plain.test(sign) ? sign : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
}).join('');

/** A notice of Alipay: the form with its signature. `encode` makes bytes of a text, in the charset that `fields.charset` names. */
export function alipayNotice(fields, privateKey, encode = Buffer.from) {
  const signed = Object.keys(fields).filter((name) => name !== 'sign_type').sort();
  const message = Buffer.concat(signed.flatMap((name, n) => [Buffer.from(`${n ? '&' : ''}${name}=`), encode(fields[name])]));
  const all = { ...fields, sign: rsaSha256(privateKey, message) };
  return Object.entries(all).map(([name, value]) => `${name}=${percentEncoded(encode(value))}`).join('&');
}

/** An HTTP request with these very bytes; a header with several values is sent several times. */
export function send(target, { path, method = 'POST', headers = {}, body = '' }) {
  const { tls, ...where } = target;
  return new Promise((done, failed) => {
    const length = 'Transfer-Encoding' in headers ? {} : { 'Content-Length': Buffer.byteLength(body) };
    const options = { ...where, path, method, agent: false, headers: { ...length, ...headers }, ...tls };
    const sent = (tls ? httpsRequest : httpRequest)(options, (answer) => {
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('end', () => done({ status: answer.statusCode, headers: answer.headers, text: Buffer.concat(parts).toString() }));
    });
    sent.on('error', failed);
    sent.end(body);
  });
}

const listens = (port) =>
  new Promise((done) => {
    const socket = connect(port, '127.0.0.1', () => done(true) ?? socket.destroy());
    socket.on('error', () => done(false));
  });

/** Runs a server on a free port, another one if that was taken meanwhile. `begin` returns the process; `ready` whether it answers. It
 * ends with this process at the latest. */
async function serve(what, begin, ready) {
  let said = '';
  for (let turn = 0; turn < 5; turn++) {
    const port = Number(run(join(top, 'tools/free-port'), []));
    const server = begin(port);
    const end = () => server.kill('SIGTERM');
    process.once('exit', end);
    const ended = new Promise((done) => server.on('exit', () => done(true)));
    let over = false;
    ended.then(() => ((over = true), process.off('exit', end)));
    server.stderr.on('data', (text) => (said += text));
    for (let wait = 0; wait < 200 && !over; wait++) {
      if (await ready(port)) return { port, stop: () => (end(), ended) };
      await pause(50);
    }
    server.kill('SIGKILL');
  }
  throw new Error(`${what} does not answer: ${said}`);
}

/** sed, and a complaint if one of the expressions changed nothing. */
function substituted(file, expressions) {
  let text = readFileSync(join(top, file), 'utf8');
  for (const expression of expressions) {
    const after = run('sed', ['-e', expression], { input: text });
    if (after === text) throw new Error(`${file}: nothing for sed to do: ${expression}`);
    text = after;
  }
  return text;
}

/** nginx in front of a PostgREST of its own in front of a database, as deploy/ has them. */
export async function startGateway(database = process.env.MPS_TEST_DB) {
  const dir = mkdtempSync(join(tmpdir(), 'mps-gateway-'));
  const cleared = () => rmSync(dir, { recursive: true, force: true });
  process.once('exit', cleared);
  // nginx' workers are another user than the tests.
  chmodSync(dir, 0o711);
  const certificate = newCertificate('pay.example.com');
  writeFileSync(join(dir, 'pay.example.com.pem'), certificate.pem);
  writeFileSync(join(dir, 'pay.example.com.key'), certificate.privateKey, { mode: 0o600 });
  const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(PGRST_|PGUSER|PGDATABASE)/.test(name)));
  const program = run(join(top, 'tools/postgrest'), ['binary']).trim();
  const postgrest = await serve('PostgREST', (port) => {
    const configuration = substituted('deploy/postgrest-gateway.conf', [
      `s|dbname=postgres|dbname=${database}|`, `s|3401|${port}|`,
    ]);
    writeFileSync(join(dir, 'postgrest.conf'), configuration);
    return spawn(program, [join(dir, 'postgrest.conf')], { env: environment, stdio: ['ignore', 'ignore', 'pipe'] });
  }, async (port) => {
    const answer = await send({ host: '127.0.0.1', port }, { path: '/rpc/nothing' }).catch(() => undefined);
    return answer?.status === 404;
  });
  const nginx = await serve('nginx', (port) => {
    const configuration = substituted('deploy/nginx.conf', [
      `s|/run/|${dir}/|`, `s|/var/log/nginx/|${dir}/|`, `s|/var/lib/nginx/|${dir}/|`, `s|/etc/mps/|${dir}/|`,
      `s|listen 443 |listen 127.0.0.1:${port} |`, `s|127.0.0.1:3401|127.0.0.1:${postgrest.port}|`,
    ]);
    writeFileSync(join(dir, 'nginx.conf'), configuration);
    return spawn(join(top, 'tools/nginx'), ['-p', dir, '-c', join(dir, 'nginx.conf'), '-e', 'stderr', '-g', 'daemon off;'],
      { stdio: ['ignore', 'ignore', 'pipe'] });
  }, listens);
  return {
    front: { host: '127.0.0.1', port: nginx.port, tls: { ca: certificate.pem, servername: 'pay.example.com' } },
    behind: { host: '127.0.0.1', port: postgrest.port },
    stop: async () => {
      await Promise.all([nginx.stop(), postgrest.stop()]);
      process.off('exit', cleared);
      cleared();
    },
  };
}
