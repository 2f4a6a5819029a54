\set n random(1, 10000)
SELECT * FROM app.merchant_refund_tx((SELECT merchant FROM bench.payments WHERE n = :n), (SELECT tx_no FROM bench.payments WHERE n = :n), 0.01);
