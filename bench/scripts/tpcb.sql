\set aid random(1, 1000000)
\set bid random(1, 10)
\set tid random(1, 100)
\set delta random(-5000, 5000)
SELECT twin.tpcb(:aid, :bid, :tid, :delta);
