//! Queries of lists: filters, sorting, pages
//! (<https://docs.hetzner.cloud/#pagination>, <https://docs.hetzner.cloud/#sorting>).

use axum::Json;
use axum::http::header::LINK;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::labels::{Labels, Selector};
use super::refusal::Refusal;

/// A query string as pairs; a name may come more than once.
#[derive(Debug)]
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(text: Option<&str>) -> Query {
        Query(
            url::form_urlencoded::parse(text.unwrap_or_default().as_bytes())
                .into_owned()
                .collect(),
        )
    }

    pub fn one(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        let (_, value) = pairs.find(|(have, _)| have == name)?;
        Some(value)
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(have, _)| have == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether an exact filter, if it was given at all, lets `value` through.
    pub fn lets(&self, name: &str, value: &str) -> bool {
        let mut wanted = self.all(name).peekable();
        wanted.peek().is_none() || wanted.any(|want| want == value)
    }

    /// The label selector; without one everything is picked.
    pub fn selector(&self) -> Result<Selector, Refusal> {
        Selector::parse(self.one("label_selector").unwrap_or_default())
            .map_err(|why| Refusal::field("label_selector", why))
    }

    fn number(&self, name: &str, default: usize, most: usize) -> Result<usize, Refusal> {
        let Some(text) = self.one(name) else {
            return Ok(default);
        };
        match text.parse() {
            Ok(number) if (1..=most).contains(&number) => Ok(number),
            _ => Err(Refusal::field(
                name,
                format!("must be a number from 1 to {most}"),
            )),
        }
    }
}

/// The labels of a resource's JSON.
pub fn labels_of(item: &Value) -> Labels {
    serde_json::from_value(item["labels"].clone()).unwrap_or_default()
}

/// Sorts by the `sort` parameters, of which only `fields` are allowed.
pub fn sort(query: &Query, fields: &[&str], items: &mut [Value]) -> Result<(), Refusal> {
    let mut orders = Vec::new();
    for text in query.all("sort") {
        let (field, direction) = text.split_once(':').unwrap_or((text, "asc"));
        if !fields.contains(&field) || !["asc", "desc"].contains(&direction) {
            return Err(Refusal::field("sort", format!("'{text}' is not allowed")));
        }
        orders.push((field, direction == "desc"));
    }
    items.sort_by(|left, right| {
        for (field, down) in &orders {
            let (left, right) = (&left[*field], &right[*field]);
            let order = match (left.as_i64(), right.as_i64()) {
                (Some(left), Some(right)) => left.cmp(&right),
                _ => left.as_str().cmp(&right.as_str()),
            };
            if order.is_ne() {
                return if *down { order.reverse() } else { order };
            }
        }
        std::cmp::Ordering::Equal
    });
    Ok(())
}

/// One page of `items` under `key`, with `meta.pagination` and a `Link` header.
pub fn page(query: &Query, path: &str, key: &str, items: Vec<Value>) -> Result<Response, Refusal> {
    let page = query.number("page", 1, 1_000_000)?;
    let per_page = query.number("per_page", 25, 50)?;
    let total = items.len();
    let last = total.div_ceil(per_page).max(1);
    let shown: Vec<Value> = items
        .into_iter()
        .skip((page - 1) * per_page)
        .take(per_page)
        .collect();
    let previous = (page > 1).then(|| page - 1);
    let next = (page < last).then(|| page + 1);
    let mut link: Vec<String> = Vec::new();
    for (number, relation) in [(previous, "prev"), (next, "next"), (Some(last), "last")] {
        if let Some(number) = number {
            link.push(format!(
                "<{path}?page={number}&per_page={per_page}>; rel=\"{relation}\""
            ));
        }
    }
    let body = json!({
        key: shown,
        "meta": { "pagination": {
            "page": page,
            "per_page": per_page,
            "previous_page": previous,
            "next_page": next,
            "last_page": last,
            "total_entries": total,
        } },
    });
    Ok(([(LINK, link.join(", "))], Json(body)).into_response())
}
