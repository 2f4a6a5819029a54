\set m random(1, :merchants)
\set k random(1, 900000000000)
SELECT * FROM app.merchant_charge_by_qr('SHOP-' || lpad(:m::text, 4, '0'), (SELECT code FROM bench.hot), 10.00, NULL, '{}', 'order-' || :k);
