//! The requests that are sent to the Hetzner Cloud API, and the answers as they come
//! (<https://docs.hetzner.cloud/reference/cloud>).

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::map;
use super::wire::{
    Action, ActionReply, CreateReply, Image, ImageReply, Meta, Named, Server, ServerReply,
    ServerType,
};
use crate::http::{Answer, Api, Call, CallError};
use crate::kind::Reason;
use crate::provider::{ProviderError, ServerSpec};

/// The API gives at most this many entries on a page.
const PER_PAGE: u32 = 50;

/// More pages than any account has: a list that never ends is an error, not a loop.
const MOST_PAGES: u32 = 200;

/// Ids in one `GET /actions?id=...&id=...`.
const MOST_IDS: usize = 25;

pub(super) struct Client {
    pub(super) api: Api,
}

impl Client {
    async fn send(&self, doing: &str, call: &Call) -> Result<Answer, ProviderError> {
        self.api
            .send(call)
            .await
            .map_err(|error| self.failed(doing, error))
    }

    fn failed(&self, doing: &str, error: CallError) -> ProviderError {
        ProviderError::from_call(self.api.account(), doing, error, map::said)
    }

    fn read<T: DeserializeOwned>(&self, doing: &str, answer: &Answer) -> Result<T, ProviderError> {
        answer.json().map_err(|error| self.failed(doing, error))
    }

    /// A whole list. One that cannot be read to its end is an error: a part of it, taken for the whole, would make
    /// a server that exists look absent.
    async fn list<T: DeserializeOwned>(
        &self,
        doing: &str,
        call: Call,
        key: &str,
    ) -> Result<Vec<T>, ProviderError> {
        let mut items = Vec::new();
        let mut page = 1;
        for _ in 0..MOST_PAGES {
            let call = call.clone().query("per_page", PER_PAGE).query("page", page);
            let answer = self.send(doing, &call).await?;
            let mut body: Value = self.read(doing, &answer)?;
            let part = body.get_mut(key).map(Value::take).unwrap_or_default();
            let part: Vec<T> = serde_json::from_value(part).map_err(|_| {
                self.endless(doing, &format!("page {page} holds no list of `{key}`"))
            })?;
            items.extend(part);
            let meta = body.get_mut("meta").map(Value::take).unwrap_or_default();
            let meta: Meta = serde_json::from_value(meta).unwrap_or_default();
            match meta.pagination.next_page {
                None => return Ok(items),
                Some(next) if next > page => page = next,
                Some(next) => {
                    let why = format!("page {page} names page {next} as the next one");
                    return Err(self.endless(doing, &why));
                }
            }
        }
        Err(self.endless(doing, &format!("it has more than {MOST_PAGES} pages")))
    }

    fn endless(&self, doing: &str, why: &str) -> ProviderError {
        let message = format!("the list cannot be read to its end: {why}");
        ProviderError::refused(self.api.account(), doing, Reason::Other, message)
    }

    pub(super) async fn servers(
        &self,
        doing: &str,
        filter: Option<(&'static str, &str)>,
    ) -> Result<Vec<Server>, ProviderError> {
        let all = Call::get(&["servers"]);
        let call = match filter {
            Some((name, value)) => all.query(name, value),
            None => all,
        };
        self.list(doing, call, "servers").await
    }

    pub(super) async fn one_server(&self, doing: &str) -> Result<(), ProviderError> {
        let call = Call::get(&["servers"]).query("per_page", 1);
        self.send(doing, &call).await.map(|_| ())
    }

    pub(super) async fn server(
        &self,
        doing: &str,
        id: i64,
    ) -> Result<Option<Server>, ProviderError> {
        let call = Call::get(&["servers", &id.to_string()]);
        match self.api.send(&call).await {
            Ok(answer) => {
                let reply: ServerReply = self.read(doing, &answer)?;
                Ok(Some(reply.server))
            }
            // Only the API's own words prove that it is gone: a proxy or a wrong path answers 404 as well.
            Err(CallError::Refused(refusal))
                if refusal.status == 404 && map::proves_absence(&refusal) =>
            {
                Ok(None)
            }
            Err(error) => Err(self.failed(doing, error)),
        }
    }

    pub(super) async fn create(
        &self,
        doing: &str,
        spec: &ServerSpec,
    ) -> Result<CreateReply, ProviderError> {
        let call = Call::post(&["servers"]).body(json!({
            "name": spec.name,
            "location": spec.region,
            "server_type": spec.size,
            "image": spec.image,
            "user_data": spec.user_data,
            "labels": map::labels(&spec.tags),
            "start_after_create": true,
        }));
        let answer = self.send(doing, &call).await?;
        self.read(doing, &answer)
    }

    pub(super) async fn power(
        &self,
        doing: &str,
        id: i64,
        on: bool,
    ) -> Result<Option<Action>, ProviderError> {
        let action = if on { "poweron" } else { "poweroff" };
        let call = Call::post(&["servers", &id.to_string(), "actions", action]);
        let answer = self.send(doing, &call).await?;
        Ok(self.read::<ActionReply>(doing, &answer)?.action)
    }

    /// `None`: there is no such server any more.
    pub(super) async fn delete(
        &self,
        doing: &str,
        id: i64,
    ) -> Result<Option<Option<Action>>, ProviderError> {
        let call = Call::delete(&["servers", &id.to_string()]);
        match self.api.send(&call).await {
            // The outcome is looked at anyway, so an answer without an action is no failure.
            Ok(answer) => Ok(Some(
                answer.json::<ActionReply>().unwrap_or_default().action,
            )),
            Err(CallError::Refused(refusal))
                if refusal.status == 404 && map::proves_absence(&refusal) =>
            {
                Ok(None)
            }
            Err(error) => Err(self.failed(doing, error)),
        }
    }

    /// The state of all these actions, in as few requests as the API allows.
    pub(super) async fn actions(
        &self,
        doing: &str,
        ids: &[i64],
    ) -> Result<Vec<Action>, ProviderError> {
        let mut actions = Vec::new();
        for ids in ids.chunks(MOST_IDS) {
            let mut call = Call::get(&["actions"]);
            for id in ids {
                call = call.query("id", id);
            }
            let answer = self.send(doing, &call).await?;
            let mut body: Value = self.read(doing, &answer)?;
            let part = body.get_mut("actions").map(Value::take).unwrap_or_default();
            actions.extend(
                serde_json::from_value::<Vec<Action>>(part)
                    .map_err(|_| self.endless(doing, "no list of `actions`"))?,
            );
        }
        Ok(actions)
    }

    pub(super) async fn locations(&self, doing: &str) -> Result<Vec<Named>, ProviderError> {
        self.list(doing, Call::get(&["locations"]), "locations")
            .await
    }

    pub(super) async fn server_types(&self, doing: &str) -> Result<Vec<ServerType>, ProviderError> {
        self.list(doing, Call::get(&["server_types"]), "server_types")
            .await
    }

    /// Images of that name, or the one of that id: both can stand in a create request.
    pub(super) async fn images(
        &self,
        doing: &str,
        image: &str,
    ) -> Result<Vec<Image>, ProviderError> {
        if !image.is_empty() && image.bytes().all(|b| b.is_ascii_digit()) {
            let call = Call::get(&["images", image]);
            return match self.api.send(&call).await {
                Ok(answer) => Ok(vec![self.read::<ImageReply>(doing, &answer)?.image]),
                Err(CallError::Refused(refusal))
                    if refusal.status == 404 && map::proves_absence(&refusal) =>
                {
                    Ok(Vec::new())
                }
                Err(error) => Err(self.failed(doing, error)),
            };
        }
        let call = Call::get(&["images"]).query("name", image);
        self.list(doing, call, "images").await
    }
}
