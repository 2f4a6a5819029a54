\set n random(1, 10000)
SELECT * FROM app.merchant_charge_by_qr((SELECT merchant FROM bench.payments WHERE n = :n), (SELECT code FROM bench.codes WHERE n = :n), 100.00, NULL, '{}', 'replay-' || :n);
