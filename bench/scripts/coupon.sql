\set k random(1, 900000000000)
\set m random(1, :merchants)
SELECT c.* FROM (SELECT nextval('bench.plain')::integer AS n OFFSET 0) x
    JOIN LATERAL (SELECT b.code, b.number FROM bench.coupons b WHERE b.coupon_id = 1 AND b.n = x.n OFFSET 0) b ON true,
    LATERAL app.merchant_charge_by_qr('SHOP-' || lpad(:m::text, 4, '0'), b.code, 10.00, NULL, '{}', 'order-' || :k, p_coupon_code => b.number) c;
