\set n random(:cards + 1, :cards + 1000)
SELECT * FROM app.rotate_card_qr((SELECT card_id FROM bench.codes WHERE n = :n));
