\set n random(1, :cards)
SELECT * FROM app.card_statement((SELECT card_id FROM bench.codes WHERE n = :n));
