\set m random(1, :merchants)
\set k random(1, 900000000000)
SELECT * FROM twin.charge('SHOP-' || lpad(:m::text, 4, '0'), (SELECT twin_code FROM bench.codes WHERE n = 1), 10.00, NULL, '{}', 'order-' || :k);
