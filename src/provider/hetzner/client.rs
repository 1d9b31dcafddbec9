//! The requests about servers that are sent to the Hetzner Cloud API, and the answers as they come
//! (<https://docs.hetzner.cloud/reference/cloud>).

use std::ops::Deref;

use serde_json::{Value, json};

use super::wire::{CreateReply, Image, Named, Server, ServerType};
use crate::http::Call;
use crate::http::hetzner::{Begun, HetznerApi};
use crate::provider::{ProviderError, ServerSpec};

pub(super) struct Client(pub(super) HetznerApi);

impl Deref for Client {
    type Target = HetznerApi;

    fn deref(&self) -> &HetznerApi {
        &self.0
    }
}

impl Client {
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
        self.look(doing, &call, "server").await
    }

    pub(super) async fn create(
        &self,
        doing: &str,
        spec: &ServerSpec,
        labels: Value,
    ) -> Result<CreateReply, ProviderError> {
        let call = Call::post(&["servers"]).body(json!({
            "name": spec.name,
            "location": spec.region,
            "server_type": spec.size,
            "image": spec.image,
            "user_data": spec.user_data,
            "labels": labels,
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
    ) -> Result<Begun, ProviderError> {
        let action = if on { "poweron" } else { "poweroff" };
        let call = Call::post(&["servers", &id.to_string(), "actions", action]);
        self.begin(doing, &call).await
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
            let found = self.look(doing, &call, "image").await?;
            return Ok(found.into_iter().collect());
        }
        let call = Call::get(&["images"]).query("name", image);
        self.list(doing, call, "images").await
    }
}
