//! The shop's questions to PostgreSQL. Every request opens its own connection: nothing is kept
//! that could outlive a database that was lost, restored or swapped.

use std::time::Duration;

use tokio_postgres::{Client, NoTls};

use super::config::Config;

const CONNECT_DEADLINE: Duration = Duration::from_secs(3);

/// How an order is shown, as JSON made by the database itself.
const ORDER: &str = "json_build_object('id', o.id, 'user', u.name, 'total', o.total, \
     'created_at', o.created_at)::text";

/// How an hour's takings are shown.
const TAKINGS: &str = "json_build_object('at', t.at, 'orders', t.orders, 'total', t.total)::text";

/// An open connection; it ends when dropped.
pub struct Database {
    client: Client,
    driver: tokio::task::JoinHandle<()>,
}

impl Drop for Database {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Database {
    pub async fn open(config: &Config) -> Result<Database, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::Config::new()
            .host(&config.host)
            .port(config.port)
            .dbname(&config.database)
            .user(&config.user)
            .password(&config.password)
            .application_name("shop")
            .options("-c statement_timeout=5000")
            .connect_timeout(CONNECT_DEADLINE)
            .connect(NoTls)
            .await?;
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Database { client, driver })
    }

    /// Whether the database answers and its tables can be read.
    pub async fn check(&self) -> Result<(), tokio_postgres::Error> {
        let sql = "select exists (select from users) and exists (select from orders)";
        self.client.query_one(sql, &[]).await.map(drop)
    }

    /// The newest orders first, as JSON texts.
    pub async fn newest(&self, limit: i64) -> Result<Vec<String>, tokio_postgres::Error> {
        let sql = format!(
            "select {ORDER} from orders o join users u on u.id = o.user_id \
             order by o.id desc limit $1"
        );
        let rows = self.client.query(&sql, &[&limit]).await?;
        rows.iter().map(|row| row.try_get(0)).collect()
    }

    /// Writes one order by a user picked by the database, and returns it.
    pub async fn order(&self, cents: i64) -> Result<String, tokio_postgres::Error> {
        let sql = format!(
            "with o as (insert into orders (user_id, total) \
             select id, $1::bigint / 100.0 from users order by random() limit 1 returning *) \
             select {ORDER} from o join users u on u.id = o.user_id"
        );
        self.client.query_one(&sql, &[&cents]).await?.try_get(0)
    }

    /// Writes down what was taken in the last hour, and returns it.
    pub async fn take(&self) -> Result<String, tokio_postgres::Error> {
        let sql = format!(
            "with t as (insert into takings (orders, total) \
             select count(*), coalesce(sum(total), 0) from orders \
             where created_at > clock_timestamp() - interval '1 hour' returning *) \
             select {TAKINGS} from t"
        );
        self.client.query_one(&sql, &[]).await?.try_get(0)
    }

    /// What was written down last.
    pub async fn takings(&self) -> Result<Option<String>, tokio_postgres::Error> {
        let sql = format!("select {TAKINGS} from takings t order by at desc limit 1");
        let row = self.client.query_opt(&sql, &[]).await?;
        row.map(|row| row.try_get(0)).transpose()
    }
}
