//! What a create asks for, read strictly: an unknown field is refused, because a misspelt one that
//! is ignored makes a server nobody ordered.

use serde_json::{Map, Value};

use super::catalogue::{Image, Location, ServerType, image, location, server_type_by};
use super::labels::{self, Labels};
use super::refusal::Refusal;

/// Largest user data, in bytes.
const USER_DATA_LIMIT: usize = 32 * 1024;

const FIELDS: [&str; 13] = [
    "name",
    "location",
    "server_type",
    "start_after_create",
    "image",
    "placement_group",
    "ssh_keys",
    "volumes",
    "networks",
    "firewalls",
    "user_data",
    "labels",
    "automount",
];

/// Reads a request's body as a JSON object.
pub fn object(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(Refusal::new(
            400,
            "json_error",
            "invalid JSON input in your request",
        )),
    }
}

/// Reads `labels`, noting every one that breaks the grammar.
pub fn read_labels(value: Option<&Value>, wrong: &mut Vec<(String, String)>) -> Labels {
    let mut read = Labels::new();
    match value {
        None | Some(Value::Null) => {}
        Some(Value::Object(object)) => {
            for (key, value) in object {
                let checked = match value.as_str() {
                    Some(text) => labels::check(key, text).map(|()| text),
                    None => Err(format!("label '{key}' must be a string")),
                };
                match checked {
                    Ok(text) => {
                        read.insert(key.clone(), text.to_owned());
                    }
                    Err(why) => wrong.push(("labels".to_owned(), why)),
                }
            }
        }
        Some(_) => wrong.push(("labels".to_owned(), "must be an object".to_owned())),
    }
    read
}

/// A server's name is a host name (RFC 1123), of several labels if one likes.
pub fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// What a server is to be made from.
pub enum Wanted {
    System(&'static Image),
    /// An id that is none of a system image: a snapshot, if the project has it.
    Snapshot(String),
}

/// A request that makes sense in itself.
pub struct Order {
    pub name: String,
    pub server_type: &'static ServerType,
    pub image: Wanted,
    pub location: Option<&'static Location>,
    pub ssh_keys: Vec<String>,
    pub user_data: String,
    pub labels: Labels,
    pub start: bool,
}

/// Reads and checks everything that needs no look at the project, all problems at once.
pub fn read(body: &Map<String, Value>) -> Result<Order, Refusal> {
    let mut wrong: Vec<(String, String)> = Vec::new();
    for field in body.keys() {
        if field != "public_net" && !FIELDS.contains(&field.as_str()) {
            wrong.push((field.clone(), "is not a known field".to_owned()));
        }
    }
    let mut required = |field: &str| match body.get(field).and_then(key_text) {
        Some(text) if !text.is_empty() => text,
        _ => {
            wrong.push((field.to_owned(), "missing or not a string".to_owned()));
            String::new()
        }
    };
    let name = required("name");
    let size = required("server_type");
    let system = required("image");
    if !name.is_empty() && !is_host_name(&name) {
        wrong.push((
            "name".to_owned(),
            "is not a valid host name (RFC 1123)".to_owned(),
        ));
    }
    let server_type = server_type_by(&size);
    if server_type.is_none() && !size.is_empty() {
        wrong.push((
            "server_type".to_owned(),
            format!("server type '{size}' not found"),
        ));
    }
    let architecture = server_type.map_or("x86", |size| size.architecture);
    let number = !system.is_empty() && system.bytes().all(|byte| byte.is_ascii_digit());
    let found = image(&system, architecture);
    let chosen = match found {
        None if number => Some(Wanted::Snapshot(system.clone())),
        found => found.map(Wanted::System),
    };
    match found {
        None if !system.is_empty() && !number => {
            wrong.push(("image".to_owned(), format!("image '{system}' not found")));
        }
        Some(image) if image.architecture != architecture => wrong.push((
            "image".to_owned(),
            format!("image '{system}' has another architecture than the server type"),
        )),
        Some(image) if !image.boots() && architecture == "x86" => wrong.push((
            "image".to_owned(),
            format!("the sandbox cannot boot '{system}': its machines are debian-12"),
        )),
        _ => {}
    }
    let wanted = body.get("location").filter(|value| !value.is_null());
    let place = wanted.and_then(key_text).and_then(|key| location(&key));
    if wanted.is_some() && place.is_none() {
        wrong.push(("location".to_owned(), "location not found".to_owned()));
    }
    let user_data = optional_text(body, "user_data", &mut wrong);
    if user_data.len() > USER_DATA_LIMIT {
        wrong.push((
            "user_data".to_owned(),
            "is too long (32 KiB at most)".to_owned(),
        ));
    }
    let labels = read_labels(body.get("labels"), &mut wrong);
    let ssh_keys = list(body, "ssh_keys", &mut wrong);
    let start = flag(body, "start_after_create", true, &mut wrong);
    flag(body, "automount", false, &mut wrong);
    for field in ["volumes", "networks", "firewalls"] {
        let some = match body.get(field) {
            None | Some(Value::Null) => false,
            Some(Value::Array(items)) => !items.is_empty(),
            Some(_) => true,
        };
        if some {
            wrong.push((
                field.to_owned(),
                "not found: the sandbox has none".to_owned(),
            ));
        }
    }
    if body
        .get("placement_group")
        .is_some_and(|group| !group.is_null())
    {
        wrong.push((
            "placement_group".to_owned(),
            "placement group not found".to_owned(),
        ));
    }
    check_network(body.get("public_net"), &mut wrong);
    match (server_type, chosen) {
        (Some(server_type), Some(image)) if wrong.is_empty() => Ok(Order {
            name,
            server_type,
            image,
            location: place,
            ssh_keys,
            user_data,
            labels,
            start,
        }),
        _ => Err(Refusal::fields(&wrong)),
    }
}

/// Ids may come as numbers or as text; the specification says text, the real API takes both.
fn key_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => number.as_i64().map(|number| number.to_string()),
        _ => None,
    }
}

fn optional_text(
    body: &Map<String, Value>,
    field: &str,
    wrong: &mut Vec<(String, String)>,
) -> String {
    match body.get(field) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(_) => {
            wrong.push((field.to_owned(), "must be a string".to_owned()));
            String::new()
        }
    }
}

fn list(body: &Map<String, Value>, field: &str, wrong: &mut Vec<(String, String)>) -> Vec<String> {
    let items = match body.get(field) {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Array(items)) => items.iter().map(key_text).collect::<Option<Vec<_>>>(),
        Some(_) => None,
    };
    items.unwrap_or_else(|| {
        wrong.push((
            field.to_owned(),
            "must be a list of names or ids".to_owned(),
        ));
        Vec::new()
    })
}

fn flag(
    body: &Map<String, Value>,
    field: &str,
    default: bool,
    wrong: &mut Vec<(String, String)>,
) -> bool {
    match body.get(field) {
        None | Some(Value::Null) => default,
        Some(Value::Bool(value)) => *value,
        Some(_) => {
            wrong.push((field.to_owned(), "must be true or false".to_owned()));
            default
        }
    }
}

/// Every machine of the world has one IPv4 address and nothing else.
fn check_network(network: Option<&Value>, wrong: &mut Vec<(String, String)>) {
    let fields = match network {
        None | Some(Value::Null) => return,
        Some(Value::Object(fields)) => fields,
        Some(_) => {
            wrong.push(("public_net".to_owned(), "must be an object".to_owned()));
            return;
        }
    };
    for (field, value) in fields {
        let why = match (field.as_str(), value) {
            ("enable_ipv4", Value::Bool(true))
            | ("enable_ipv6", Value::Bool(_))
            | ("ipv4" | "ipv6", Value::Null) => continue,
            ("enable_ipv4", Value::Bool(false)) => "the sandbox has no server without IPv4",
            ("ipv4" | "ipv6", Value::Number(_)) => "primary IP not found: the sandbox has none",
            ("enable_ipv4" | "enable_ipv6" | "ipv4" | "ipv6", _) => "has the wrong type",
            _ => "is not a known field",
        };
        wrong.push((format!("public_net.{field}"), why.to_owned()));
    }
}
