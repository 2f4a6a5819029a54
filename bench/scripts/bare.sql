\set n random(1, :cards)
WITH c AS (UPDATE twin.personal_cards c SET balance = c.balance - 10 WHERE c.id = (SELECT card_id FROM bench.codes WHERE n = :n) RETURNING c.id) INSERT INTO twin.bare_log (card_id, at, amount) SELECT id, now(), 10 FROM c;
