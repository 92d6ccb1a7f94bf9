-- The proof, from the data alone. One row each: what, expected, found. psql variables: orders, kills.
SELECT 'orders placed' AS what, :orders AS expected, (SELECT count(*) FROM orders) AS found
UNION ALL
SELECT 'orders shipped', :orders, (SELECT count(*) FROM orders WHERE status = 'shipped' AND shipped_at IS NOT NULL)
UNION ALL
SELECT 'shipments, one for each order', :orders, (SELECT count(DISTINCT s.order_id) FROM shipments s JOIN orders o ON o.id = s.order_id)
UNION ALL
SELECT 'workflows succeeded', :orders,
    (SELECT count(*) FROM orders o JOIN pawl.workflows w ON w.workflow_id = 'order-' || o.id WHERE w.status = 'succeeded')
UNION ALL
SELECT 'workflows in all', :orders, (SELECT count(*) FROM pawl.workflows)
UNION ALL
SELECT 'steps recorded, three for each order', 3 * :orders, (SELECT count(*) FROM pawl.workflow_steps WHERE status = 'succeeded')
UNION ALL
SELECT 'units ordered = units gone from stock', (SELECT sum(quantity) FROM orders),
    (SELECT sum(b.on_hand - s.on_hand) FROM opening_stock b JOIN stock s USING (sku))
UNION ALL
SELECT 'products whose stock is exactly right', (SELECT count(*) FROM opening_stock),
    (SELECT count(*) FROM opening_stock b JOIN stock s USING (sku)
     WHERE b.on_hand - s.on_hand = (SELECT coalesce(sum(quantity), 0) FROM orders o WHERE o.sku = s.sku))
UNION ALL
SELECT 'workers found dead', :kills, (SELECT count(*) FROM pawl.workers WHERE status = 'dead');
