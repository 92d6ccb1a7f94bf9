-- The shop's own tables, and the trigger that makes every new order a workflow.
-- Run it as the application's role, which needs: SELECT pawl.grant_access('that_role', 'enqueue');
-- The worker's role needs: GRANT SELECT, INSERT, UPDATE ON stock, orders, shipments TO that_worker;

CREATE TABLE stock (
    sku      text PRIMARY KEY,
    on_hand  integer NOT NULL,
    CONSTRAINT stock_on_hand CHECK (on_hand >= 0)
);

CREATE TABLE orders (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer    text NOT NULL,
    address     text NOT NULL,
    sku         text NOT NULL REFERENCES stock,
    quantity    integer NOT NULL,
    status      text NOT NULL DEFAULT 'placed',
    ordered_at  timestamptz NOT NULL DEFAULT now(),
    shipped_at  timestamptz,
    CONSTRAINT orders_quantity CHECK (quantity > 0),
    CONSTRAINT orders_status CHECK (status IN ('placed', 'shipped', 'out_of_stock', 'refused'))
);

CREATE TABLE shipments (
    order_id         bigint PRIMARY KEY REFERENCES orders,  -- an order is shipped once
    carrier          text NOT NULL,
    tracking_number  text NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now()
);

-- The order and its workflow commit together, or neither does.
CREATE TRIGGER ship_order AFTER INSERT ON orders
    FOR EACH ROW EXECUTE FUNCTION pawl.enqueue_on_change('ship_order', 'workflow_id=order-{id}');
