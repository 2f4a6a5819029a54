-- What there is to watch in bills and days.

CREATE FUNCTION sec.missing_bills() RETURNS TABLE (account text, bill_date date)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- A bill is there at ten in the morning of the next day; what lies back two months, nobody waits for.
    SELECT f.account, d.day::date
    FROM (SELECT b.account, min(b.bill_date) AS first FROM app.gateway_bills b JOIN app.gateway_accounts a ON a.code = b.account
          WHERE b.kind = 'trade' AND a.active GROUP BY b.account) f
    CROSS JOIN LATERAL generate_series(greatest(f.first, sec.recon_day(now()) - 60)::timestamp,
                                       (sec.recon_day(now() - interval '10 hours') - 1)::timestamp, interval '1 day') d (day)
    WHERE NOT EXISTS (SELECT FROM app.gateway_bills b
                      WHERE b.account = f.account AND b.bill_date = d.day::date AND b.kind = 'trade' AND b.replaced_at IS NULL)
$$;
COMMENT ON FUNCTION sec.missing_bills() IS
    'The days of the last two months, since the first bill of each active account, whose bill is not here. Internal: '
    'sec.health_of_reconciliation().';

CREATE FUNCTION sec.health_of_reconciliation() RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c_days constant integer := 3;
    c_item constant text := '%s %s: %s items open for more than %s days, for app.resolve_recon_item()';
BEGIN
    IF NOT EXISTS (SELECT FROM app.gateway_bills) THEN
        RETURN;
    END IF;
    RETURN QUERY
        SELECT 'gateway_bills'::text, count(*) = 0,
               CASE WHEN count(*) = 0 THEN 'every day has its bill'
                    ELSE format('%s days without a bill, for app.import_bill(): %s', count(*),
                                array_to_string((array_agg(format('%s %s', m.account, m.bill_date) ORDER BY m.bill_date))[1:10], ', ')) END
        FROM sec.missing_bills() m;
    RETURN QUERY
        SELECT 'gateway_days'::text, count(*) = 0,
               CASE WHEN count(*) = 0 THEN 'none to look at'
                    ELSE array_to_string((array_agg(x.what ORDER BY x.what))[1:10], '; ') END
        FROM (SELECT format(c_item, i.account, i.bill_date, count(*), a.days) AS what
              FROM app.recon_items i
              JOIN (SELECT g.code, coalesce((g.config ->> 'item_days')::integer, c_days) AS days FROM app.gateway_accounts g) a
                ON a.code = i.account
              WHERE i.status = 'open' AND i.first_seen < now() - make_interval(days => a.days) GROUP BY i.account, i.bill_date, a.days
              UNION ALL
              -- No bill had it, so the card gave it back; and then its callback came.
              SELECT format('%s %s: %s was taken back by %s, and a callback has told of its payment since: app.compensate_tx()', i.account,
                            i.bill_date, i.tx_no, i.result_tx_no)
              FROM app.recon_items i
              WHERE i.result_tx_no IS NOT NULL AND i.class = 'only_in_books' AND i.entry = 'payment'
                AND sec.recon_told_later(i.trade_no, i.tx_no)
                -- Until it is given back, or somebody says of the day that the callback is of what it is.
                AND (SELECT sum(c.amount) FROM app.transaction_compensations c WHERE c.tx_no IN (i.tx_no, i.result_tx_no)) < 0
                AND NOT EXISTS (SELECT FROM app.recon_items x
                                WHERE x.trade_no = i.trade_no AND x.entry = 'payment' AND x.id <> i.id AND x.resolution <> 'settled'
                                  AND x.resolved_at > i.resolved_at)
              UNION ALL
              SELECT format('%s %s: was closed, and a new bill or a difference has opened it again', d.account, d.bill_date)
              FROM app.recon_days d WHERE d.reopened_at IS NOT NULL AND d.closed_at IS NULL) x;
    RETURN QUERY
        SELECT 'gateway_receivables'::text, false,
               format('%s: items of app.recon_items whose card did not cover what was taken back: %s', sum(i.receivable),
                      array_to_string((array_agg(format('%s (%s)', i.id, i.receivable) ORDER BY i.id))[1:10], ', '))
        FROM app.recon_items i WHERE i.receivable > 0 HAVING count(*) > 0;
END
$$;
COMMENT ON FUNCTION sec.health_of_reconciliation() IS
    'What app.health() says of bills and days; no row where no bill was ever imported. Internal: sec.health_rows().';
