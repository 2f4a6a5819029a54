// Receipts in the member's own browser: the verifier in TypeScript, against what PostgREST gives.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chownSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import ts from 'typescript';
import { backend } from './lib/api.mjs';
import { ok, refused } from './lib/expect.mjs';
import { charge, newMember, newShop } from './lib/shop.mjs';
import { psql } from './lib/psql.mjs';
import { source, verifier } from './lib/verifier.mjs';

const place = mkdtempSync(join(tmpdir(), 'mps-receipts-'));
let keys, keyFile;

/** An Ed25519 key, readable by the server's user alone, and what is published of it. */
function newKey(file) {
  execFileSync('openssl', ['genpkey', '-algorithm', 'ed25519', '-out', file]);
  return execFileSync('openssl', ['pkey', '-in', file, '-pubout'], { encoding: 'utf8' });
}

before(async () => {
  const data = psql('SHOW data_directory');
  keyFile = join(dirname(data), `seal-${process.pid}.pem`);
  const published = newKey(keyFile);
  const { uid, gid } = statSync(data);
  chownSync(keyFile, uid, gid);
  keys = await verifier.keys(published);
  // The option is known once the library is loaded.
  psql(`SELECT app.business_day(now()); ALTER SYSTEM SET mps.seal_key_file = '${keyFile}'`);
  psql('SELECT pg_reload_conf()');
  for (let n = 0; n < 100 && !psql('SELECT app.business_day(now()); SHOW mps.seal_key_file').endsWith(keyFile); n += 1) await pause(50);
  psql('CALL audit.seal()');
});

after(() => {
  psql('SELECT app.business_day(now()); ALTER SYSTEM RESET mps.seal_key_file');
  psql('SELECT pg_reload_conf()');
  rmSync(keyFile, { force: true });
  rmSync(place, { recursive: true, force: true });
});

test('the verifier is sound TypeScript', () => {
  const program = ts.createProgram([source], {
    strict: true, noUncheckedIndexedAccess: true, noEmit: true, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ES2022,
    moduleResolution: ts.ModuleResolutionKind.Bundler, lib: ['lib.es2022.d.ts', 'lib.dom.d.ts'], types: [],
  });
  const found = ts.getPreEmitDiagnostics(program).map((d) => ts.flattenDiagnosticMessageText(d.messageText, ' '));
  assert.deepEqual(found, []);
});

test('a member keeps a receipt, and verifies it without the server', async () => {
  const shop = await newShop();
  const member = await newMember({ balance: 100 });
  const paid = await charge(shop, member, 12.34);
  await refused(await member.rpc('tx_proof', { p_tx_no: paid.tx_no }, { get: true }), 409, 'STATUS_CONFLICT');
  psql('CALL audit.seal()');
  const proof = ok(await member.rpc('tx_proof', { p_tx_no: paid.tx_no }, { get: true }));
  assert.ok(JSON.stringify(proof).length <= 2048);
  const kept = await verifier.receipt(proof, keys);
  assert.equal(kept.movement.txNo, paid.tx_no);
  assert.equal(kept.movement.cardNo, member.cardNo);
  assert.equal(kept.movement.changeCents, -1234n);
  assert.equal(kept.movement.balanceAfterCents, 8766n);
  const other = await newMember();
  await refused(await other.rpc('tx_proof', { p_tx_no: paid.tx_no }), 404, 'TX_NOT_FOUND');

  // Later heads go on from it; another key has signed nothing; a change in any place shows.
  for (let n = 0; n < 5; n += 1) {
    await charge(shop, member, 1);
    psql('CALL audit.seal()');
    const heads = ok(await other.rpc('head_proof', { p_head_no: kept.head.headNo }, { get: true }));
    assert.deepEqual(await verifier.judge(kept.head, heads, keys), { verdict: 'stands' });
    // Whoever stands between spoils it: that convicts nobody.
    assert.deepEqual(await verifier.judge(kept.head, { ...heads, path: 'AAAA' }, keys), { verdict: 'not shown' });
  }
  const wrong = await verifier.keys(newKey(join(place, 'other.pem')));
  await assert.rejects(verifier.receipt(proof, wrong), verifier.Invalid);
  for (const field of ['leaf', 'path', 'head', 'signature']) {
    for (let at = 0; at < proof[field].length; at += 1) {
      const changed = proof[field].slice(0, at) + (proof[field][at] === '1' ? '2' : '1') + proof[field].slice(at + 1);
      await assert.rejects(verifier.receipt({ ...proof, [field]: changed }, keys), verifier.Invalid, `${field} at ${at}`);
    }
  }
  await assert.rejects(verifier.receipt({ ...proof, index: proof.index + 1 }, keys), verifier.Invalid);

  // Both verifiers say the same.
  writeFileSync(join(place, 'receipt.json'), JSON.stringify(proof));
  assert.equal(verifier.exclude(kept, await verifier.receipt(ok(await backend.rpc('tx_proof', { p_tx_no: paid.tx_no })), keys)), false);
});

test('a shop that rewrites its log and signs it anew is convicted', async () => {
  const shop = await newShop();
  const member = await newMember({ balance: 50 });
  const paid = await charge(shop, member, 5);
  psql('CALL audit.seal()');
  const kept = await verifier.receipt(ok(await member.rpc('tx_proof', { p_tx_no: paid.tx_no })), keys);
  const tables = ['audit.seals', 'audit.heads'];
  psql(`
    ${tables.map((t) => `ALTER TABLE ${t} DISABLE TRIGGER append_only;`).join('\n')}
    UPDATE app.transactions SET posted_at = posted_at + interval '1 millisecond' WHERE tx_no = '${paid.tx_no}';
    DELETE FROM audit.seals; DELETE FROM audit.trees; DELETE FROM audit.tree_chunks; DELETE FROM audit.tree_nodes; DELETE FROM audit.heads;
    ${tables.map((t) => `ALTER TABLE ${t} ENABLE ALWAYS TRIGGER append_only;`).join('\n')}`);
  psql('CALL audit.seal()');
  const heads = ok(await member.rpc('head_proof', { p_head_no: kept.head.headNo }));
  assert.equal((await verifier.judge(kept.head, heads, keys)).verdict, 'convicted');
  const now = await verifier.receipt(ok(await member.rpc('tx_proof', { p_tx_no: paid.tx_no })), keys);
  assert.equal(verifier.exclude(kept, now), true);
});
