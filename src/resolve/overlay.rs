//! Names and addresses that lead elsewhere in this process than in the world: in a drill users are not moved, and whatever is
//! asked by a name that the plan would move must ask the new side all the same. Every check goes through here; there is no
//! second place that knows of it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::RwLock;

use super::plain_name;

/// Where a name leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leads {
    /// Where the world says.
    AsItIs,
    /// To this address, for this process only.
    To(IpAddr),
    /// To an address that the named step will know when it is its turn.
    NotYet(String),
}

/// The names and addresses that lead elsewhere; none, outside a drill.
#[derive(Debug, Default)]
pub struct Overlay(RwLock<BTreeMap<String, Leads>>);

impl Overlay {
    /// Replaces all that is known. A name may begin with `*.`, as records do.
    pub fn set(&self, all: BTreeMap<String, Leads>) {
        let all = all
            .into_iter()
            .map(|(name, leads)| (plain_key(&name), leads));
        *self.0.write().expect("no holder panics") = all.collect();
    }

    /// Where this name or address leads to. The whole name counts before a wildcard above it (RFC 4592).
    pub fn ask(&self, name: &str) -> Leads {
        let known = self.0.read().expect("no holder panics");
        let name = plain_key(name);
        let mut rest = name.as_str();
        let mut found = known.get(rest);
        while let (None, Some((_, above))) = (found, rest.split_once('.')) {
            found = known.get(&format!("*.{above}"));
            rest = above;
        }
        match found {
            // A name may lead to an address that is moved itself.
            Some(Leads::To(address)) => known.get(&address.to_string()).or(found),
            found => found,
        }
        .cloned()
        .unwrap_or(Leads::AsItIs)
    }
}

/// One spelling for a name, and for an address.
pub fn plain_key(name: &str) -> String {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => plain_name(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_name_leads_to_its_new_address_and_no_other_name_does() {
        let overlay = Overlay::default();
        assert_eq!(overlay.ask("shop.example"), Leads::AsItIs);
        let new = Leads::To("192.0.2.9".parse().unwrap());
        let wild = Leads::NotYet("web".into());
        overlay.set(
            [
                ("Shop.Example.".to_string(), new.clone()),
                ("*.shop.example".to_string(), wild.clone()),
                ("2001:DB8::1".to_string(), new.clone()),
            ]
            .into(),
        );
        assert_eq!(overlay.ask("SHOP.example."), new);
        assert_eq!(overlay.ask("[2001:db8:0::1]"), new);
        assert_eq!(overlay.ask("a.b.shop.example"), wild);
        assert_eq!(overlay.ask("xshop.example"), Leads::AsItIs);
        assert_eq!(overlay.ask("example"), Leads::AsItIs);
        let floating = Leads::To("2001:db8::1".parse().unwrap());
        let all = [
            ("floating.example".to_string(), floating),
            ("2001:db8::1".to_string(), new.clone()),
        ];
        overlay.set(all.into());
        assert_eq!(overlay.ask("floating.example"), new);
        overlay.set(BTreeMap::new());
        assert_eq!(overlay.ask("shop.example"), Leads::AsItIs);
    }
}
