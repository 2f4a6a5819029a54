// Who gets in, and how far: visitors, users, false JWTs, tables, hashes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backend, clientOf, http, sign, signedIn, visitor } from './lib/api.mjs';
import { denied, ok, refused, refusedAndStill, row } from './lib/expect.mjs';
import { charge, newCompany, newMember, newShop, payCode } from './lib/shop.mjs';
import { books, psql, psqlError } from './lib/psql.mjs';

// The contract's lists; what the database grants is compared with them.
const clientRpcs = [
  'balance_as_of', 'bucket_of_card', 'bucket_of_code', 'bucket_of_tx', 'business_day', 'business_day_start',
  'cancel_payment', 'card_statement', 'claim_coupon', 'enterprise_add_member', 'enterprise_remove_member', 'error_list',
  'head_proof', 'liability_proof',
  'merchant_charge_by_qr', 'merchant_refund_tx', 'merchant_statement', 'quote_charge', 'register_member', 'remove_merchant_user',
  'rotate_card_qr', 'set_card_status', 'set_merchant_user', 'tx_by_no', 'tx_proof', 'user_recharge_enterprise_card_admin',
  'usage_page', 'user_recharge_personal_card',
];
const backendRpcs = [
  'adjust_points', 'campaign_report', 'close_recon_day', 'create_campaign', 'set_campaign_status', 'update_campaign',
   'compensate_tx', 'confirm_recharge', 'confirm_withdrawal', 'create_coupon',
  'create_enterprise_card', 'create_merchant', 'issue_coupon', 'revoke_coupon', 'set_coupon_status', 'update_coupon',
  'day_totals', 'fail_recharge', 'fail_withdrawal', 'gateway_notify', 'get_settings', 'import_bill', 'reconcile', 'replace_card',
  'resolve_recon_item', 'resolve_suspense', 'reverify_event', 'set_card_expiry', 'set_member_status', 'set_merchant_status', 'update_settings',
  'withdraw',
];
const views = ['error_codes', 'v_member_coupons', 'v_usage_logs', 'v_user_cards'];
const readOnlyViews = ['campaign_uses', 'error_codes', 'v_member_coupons', 'v_recon_days', 'v_reconciliation', 'v_usage_logs', 'v_user_cards'];
const readableTables = [
  'coupon_terms', 'coupons', 'enterprise_card_bindings', 'enterprise_cards', 'member_coupons', 'member_profiles', 'membership_levels', 'merchant_users', 'merchants',
  'personal_cards', 'point_ledger', 'transactions',
];

/** What a backend reads all columns of, besides. */
const backendTables = [
  'campaign_terms', 'campaign_uses', 'campaigns', 'coupon_budget_parts', 'gateway_accounts', 'gateway_bill_files', 'gateway_bill_lines', 'gateway_bills', 'gateway_events', 'gateway_tallies', 'recon_days', 'recon_items',
  'v_recon_days', 'withdrawals',
];

/** Every function of schema app, with NULL for each argument: PostgREST finds a function by its argument names. */
const functions = JSON.parse(psql(`
  SELECT json_agg(json_build_object('name', p.proname, 'args', (
             SELECT coalesce(json_object_agg(a.name, NULL), '{}') FROM unnest(p.proargnames[:p.pronargs]) a(name)))
             ORDER BY p.proname)
  FROM pg_proc p WHERE p.pronamespace = 'app'::regnamespace AND p.prokind = 'f'`));
const relations = psql(`
  SELECT string_agg(c.relname, ' ' ORDER BY c.relname) FROM pg_class c
  WHERE c.relnamespace = 'app'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition`).split(' ');

test('visitors get nothing: no function, no table, no view', async (t) => {
  assert.ok(functions.length >= clientRpcs.length + backendRpcs.length);
  assert.ok(relations.length >= views.length + readableTables.length);
  for (const [who, client] of Object.entries({ 'with the anon key': visitor, 'without a JWT': null })) {
    for (const { name, args } of functions) {
      await t.test(`${who}: ${name}`, async () => {
        if (client) return denied(await client.rpc(name, args), 401, /^permission denied for schema app$/);
        const answer = await http('POST', `rpc/${name}`, { body: JSON.stringify(args) });
        assert.deepEqual([answer.status, JSON.parse(answer.text).code], [401, '42501']);
      });
    }
    for (const name of relations) {
      await t.test(`${who}: ${name}`, async () => {
        const answer = client ? await client.from(name).select('*').limit(1) : await http('GET', `${name}?limit=1`);
        assert.equal(answer.status, 401);
        assert.match(answer.text ?? answer.error.message, /permission denied for schema app/);
      });
    }
  }
});

test("a visitor's API page is empty", async () => {
  const page = async (jwt) => Object.keys(JSON.parse((await http('GET', '', { jwt })).text).paths).sort();
  assert.deepEqual(await page(undefined), ['/']);
  assert.deepEqual(
    await page(sign({ role: 'authenticated', sub: '00000000-0000-4000-8000-000000000001' })),
    ['/', ...clientRpcs.map((name) => `/rpc/${name}`), ...readableTables.map((name) => `/${name}`), ...views.map((name) => `/${name}`)]
      .filter((path, i, all) => all.indexOf(path) === i).sort());
});

test('users may execute exactly the client functions, backends the backend ones too', async (t) => {
  const user = signedIn();
  for (const { name, args } of functions) {
    await t.test(name, async () => {
      const [asUser, asBackend] = [await user.rpc(name, args), await backend.rpc(name, args)];
      const isDenied = (answer) => answer.error?.code === '42501';
      assert.equal(isDenied(asUser), !clientRpcs.includes(name), JSON.stringify(asUser));
      assert.equal(isDenied(asBackend), ![...clientRpcs, ...backendRpcs].includes(name), JSON.stringify(asBackend));
      if (isDenied(asUser)) denied(asUser, 403, new RegExp(`^permission denied for function ${name}$`));
    });
  }
});

test('procedures and the other schemas are not reached over HTTP', async () => {
  for (const name of ['maintain_partitions', 'expire_cards', 'recompute_levels']) {
    const answer = await backend.rpc(name);
    assert.deepEqual([answer.status, answer.error.code], [404, 'PGRST202'], name);
  }
  const jwt = sign({ role: 'service_role' });
  for (const schema of ['sec', 'audit', 'pg_catalog']) {
    const answer = await http('POST', 'rpc/uid', { jwt, body: '{}', headers: { 'content-profile': schema } });
    assert.deepEqual([answer.status, JSON.parse(answer.text).code], [406, 'PGRST106'], schema);
  }
});

test('only PostgREST’s own key makes a JWT', async (t) => {
  const [member, id] = [await newMember({ balance: 5 }), '00000000-0000-4000-8000-000000000002'];
  const claims = { sub: member.id, role: 'authenticated' };
  const call = (jwt) => clientOf(jwt).rpc('rotate_card_qr', { p_card_id: member.card });
  const bad = {
    'signed with another key': sign(claims, { key: 'x'.repeat(32) }),
    'not signed': sign(claims, { alg: 'none' }),
    expired: sign({ ...claims, exp: Math.floor(Date.now() / 1000) - 3600 }),
    'another user’s claims under this signature': (() => {
      const [head, , signature] = sign({ ...claims, sub: id }).split('.');
      return [head, sign(claims).split('.')[1], signature].join('.');
    })(),
  };
  for (const [name, jwt] of Object.entries(bad)) {
    await t.test(name, async () => {
      const before = books();
      const answer = await call(jwt);
      assert.deepEqual([answer.status, answer.error.code], [401, 'PGRST301'], JSON.stringify(answer));
      assert.equal(books(), before);
    });
  }
  for (const role of ['postgres', 'mps_owner', 'pg_read_all_data']) {
    await t.test(`the role ${role}`, async () =>
      denied(await call(sign({ sub: member.id, role })), 403, /^permission denied to set role/));
  }
  await t.test('the true one', async () => row(await call(sign(claims))));
});

test('a planted role claim does not make a backend', async (t) => {
  const member = await newMember();
  const planted = {
    app_metadata: { role: 'service_role' }, user_metadata: { role: 'service_role' }, user_role: 'service_role',
    roles: ['service_role'], is_admin: true, backend: true,
  };
  const user = signedIn(member.id, planted);
  const recharge = { p_personal_card_id: member.card, p_amount: 1000 };
  await t.test('in a JWT', async () => {
    await refusedAndStill(
      () => user.rpc('user_recharge_personal_card', { ...recharge, p_payment_method: 'cash' }), 400, 'INVALID_PAYMENT_METHOD');
    const pending = row(await user.rpc('user_recharge_personal_card', recharge));
    assert.equal(pending.status, 'processing');
    denied(
      await user.rpc('confirm_recharge', { p_tx_no: pending.tx_no, p_amount: 1000, p_gateway_trade_no: 'mine' }),
      403, /^permission denied for function confirm_recharge$/);
  });
  // The same from inside: somebody who can write the setting that holds the claims.
  const asUser = `
    SET ROLE authenticated;
    SELECT set_config('request.jwt.claims', json_build_object('sub', :'id', 'role', 'service_role')::text, false) \\g /dev/null
    SELECT set_config('request.jwt.claim.role', 'service_role', false), set_config('role.is_backend', 'on', false) \\g /dev/null
  `;
  await t.test('in the settings', () => {
    const vars = { id: member.id, card: member.card };
    assert.equal(
      psqlError(`${asUser} SELECT * FROM app.confirm_recharge('CZ2611000001', 1000, 'mine')`, vars), '42501');
    assert.equal(
      psqlError(`${asUser} SELECT * FROM app.user_recharge_personal_card(:'card', 1000, 'cash')`, vars), 'PT400');
    assert.equal(
      psql(`${asUser} SELECT status FROM app.user_recharge_personal_card(:'card', 1000)`, vars), 'processing');
  });
  assert.equal(row(await member.from('personal_cards').select('balance')).balance, 0);
});

test('nobody writes a table directly, not even a backend', async (t) => {
  const [member, shop] = [await newMember({ balance: 10 }), await newShop()];
  await charge(shop, member, 1);
  const before = books();
  for (const [who, client] of Object.entries({ member, cashier: shop.cashier, backend })) {
    for (const table of relations) {
      await t.test(`${who}: ${table}`, async () => {
        const column = psql(`SELECT attname FROM pg_attribute WHERE attrelid = ('app.' || :'t')::regclass AND attnum = 1`, { t: table });
        const never = [column, 'is', null];
        const answers = [
          await client.from(table).insert({ [column]: null }),
          await client.from(table).update({ [column]: null }).not(...never),
          await client.from(table).delete().not(...never),
        ];
        for (const answer of answers) {
          // PostgreSQL does not even ask who it is where a view has no single table below it.
          if (readOnlyViews.includes(table)) assert.equal(answer.error.code, '55000', JSON.stringify(answer.error));
          else denied(answer, 403, /^permission denied for (table|view) /);
        }
      });
    }
  }
  assert.equal(books(), before);
});

test('hashes, keys and internal tables are read by nobody', async (t) => {
  const [member, company] = [await newMember(), await newCompany()];
  await payCode(member);
  await payCode(company.admin, company.card);
  const secrets = {
    personal_cards: ['qr_hash', 'last_tx_id'], enterprise_card_bindings: ['qr_hash'],
    transactions: ['idempotency_key', 'external_order_id', 'gateway_trade_no', 'processed_by'],
  };
  for (const [who, client] of Object.entries({ member, admin: company.admin, backend })) {
    for (const [table, columns] of Object.entries(secrets)) {
      for (const column of columns) {
        await t.test(`${who}: ${table}.${column}`, async () => {
          const permission = /^permission denied for table /;
          denied(await client.from(table).select(column), 403, permission);
          denied(await client.from(table).select('created_at').not(column, 'is', null), 403, permission);
          denied(await client.from(table).select('created_at').order(column), 403, permission);
        });
      }
      await t.test(`${who}: ${table}.*`, async () => denied(await client.from(table).select('*'), 403, /^permission denied/));
    }
    const readable = [...views, ...readableTables, ...(client === backend ? backendTables : [])];
    for (const table of relations.filter((name) => !readable.includes(name))) {
      await t.test(`${who}: ${table}`, async () => denied(await client.from(table).select('*'), 403, /^permission denied for (table|view) /));
    }
  }
});

test('the tables of single months are closed as well', async () => {
  const months = psql(`
    SELECT string_agg(c.relname, ' ') FROM pg_class c WHERE c.relnamespace = 'app'::regnamespace AND c.relispartition AND c.relkind = 'r'`);
  const before = books();
  for (const month of months.split(' ')) {
    const at = month.startsWith('gateway_events') ? 'received_at' : 'created_at';
    denied(await backend.from(month).select(at), 403, /^permission denied for table /);
    denied(await backend.from(month).delete().not(at, 'is', null), 403, /^permission denied for table /);
    // PostgREST does not list partitions, and so has nothing to insert into.
    assert.equal((await backend.from(month).insert({ [at]: '2026-01-01' })).status, 404, month);
  }
  assert.equal(books(), before);
});

test('a function that writes does nothing by GET', async () => {
  const [member, shop] = [await newMember({ balance: 10 }), await newShop()];
  const args = { p_merchant_code: shop.code, p_qr_plain: await payCode(member), p_amount: 1 };
  const before = books();
  const answer = await shop.cashier.rpc('merchant_charge_by_qr', args, { get: true });
  assert.deepEqual([answer.status, answer.error.code], [405, '25006'], JSON.stringify(answer.error));
  assert.equal(books(), before);
  // What only reads PostgREST lets through: this one refuses it by itself.
  const asked = await shop.cashier.rpc('quote_charge', args, { get: true });
  assert.equal(asked.error?.message, 'INVALID_ARGUMENT');
  assert.equal(row(await shop.cashier.rpc('quote_charge', args)).final_amount, args.p_amount);
  row(await shop.cashier.rpc('merchant_charge_by_qr', args));
});

test('an unknown argument or function is PostgREST’s 404', async () => {
  const user = signedIn();
  for (const [name, args] of [['tx_by_no', { p_number: 'x' }], ['mint_money', {}]]) {
    const answer = await user.rpc(name, args);
    assert.deepEqual([answer.status, answer.error.code], [404, 'PGRST202']);
  }
});

test('the extension finds its own grants and policies in order', () => {
  assert.equal(psql('SELECT rule, detail FROM sec.security_check() WHERE NOT ok'), '');
  assert.ok(Number(psql('SELECT count(*) FROM sec.security_check()')) > 0);
});

test('a user whose JWT has no sub may read what is everybody’s and nothing else', async () => {
  const nobody = clientOf(sign({ role: 'authenticated' }));
  await newMember();
  assert.equal(ok(await nobody.from('error_codes').select('token')).length, 40);
  assert.deepEqual(ok(await nobody.from('v_member_coupons').select('code')), []);
  for (const table of ['v_user_cards', 'v_usage_logs']) assert.deepEqual(ok(await nobody.from(table).select('card_id')), []);
  await refused(await nobody.rpc('tx_by_no', { p_tx_no: 'ZF2611000001' }, { get: true }), 401, 'NOT_AUTHENTICATED');
});
