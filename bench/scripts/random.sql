\set n random(1, :cards)
\set m random(1, :merchants)
\set k random(1, 900000000000)
SELECT * FROM random.charge('SHOP-' || lpad(:m::text, 4, '0'), (SELECT twin_code FROM bench.codes WHERE n = :n), 10.00, NULL, '{}', 'order-' || :k);
