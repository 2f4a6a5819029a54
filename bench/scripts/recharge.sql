\set n random(1, :cards)
SET ROLE bench_member;
SELECT set_config('request.jwt.claims', '{"sub": "00000000-0000-7000-8000-' || lpad(to_hex(:n::int), 12, '0') || '"}', false);
SELECT tx_no AS tx_no FROM app.user_recharge_personal_card((SELECT card_id FROM bench.codes WHERE n = :n), 10.00) \gset
RESET ROLE;
SELECT * FROM app.confirm_recharge(:tx_no, 10.00, :tx_no);
