//! A token: which HSM it is, and as whom it is asked.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use cryptoki_sys::CK_SLOT_ID;
use managed_hsm::{
    CredentialKind, CredentialSettings, KeyName, KeyVersion, ManagedIdentityId, Origin, Service,
    Setting, Settings, Vault, VaultName, environment,
};
use url::Url;

use super::mistakes::{Mistakes, read_settings};
use super::section::Section;
use super::{SPELLING, probe};
use crate::certificates::files::{self, Sources};
use crate::report;

/// What a token is told.
#[derive(Clone, Debug)]
pub(crate) struct TokenSettings {
    pub(crate) slot: CK_SLOT_ID,
    pub(crate) label: String,
    pub(crate) vault: Vault,
    pub(crate) client: Settings,
    /// Whether the credential is the program's PIN.
    pub(crate) by_pin: bool,
    /// Whether programs are told that they have to log in.
    pub(crate) requires_login: bool,
    /// The keys that there are; None: all of the HSM.
    pub(crate) keys: Option<Vec<KeyPattern>>,
    /// Whether the HSM is never asked for its list of keys.
    pub(crate) never_lists: bool,
    /// Whether keys that are disabled are hidden.
    pub(crate) hides_disabled: bool,
    /// Where its certificates are.
    pub(crate) certificates: Sources,
    /// Why there is no token in the slot.
    pub(crate) problem: Option<String>,
}

/// A key, or the keys whose names begin so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyPattern {
    Name(KeyName, Option<KeyVersion>),
    Prefix(String),
}

impl KeyPattern {
    /// All that a token's keys are named by.
    fn parse_all(texts: &[String]) -> Result<Vec<Self>, String> {
        if texts.is_empty() {
            return Err("it names no key: leave it out for all keys".to_owned());
        }
        let mut patterns: Vec<Self> = Vec::new();
        for text in texts {
            let pattern = Self::parse(text)?;
            // Which of two versions a search finds would be chance.
            if let Self::Name(name, _) = &pattern
                && patterns
                    .iter()
                    .any(|other| matches!(other, Self::Name(known, _) if known == name))
            {
                return Err(format!("it names '{name}' twice"));
            }
            patterns.push(pattern);
        }
        Ok(patterns)
    }

    fn parse(text: &str) -> Result<Self, String> {
        if let Some(prefix) = text.strip_suffix('*') {
            return Ok(Self::Prefix(prefix.to_ascii_lowercase()));
        }
        let (name, version) = match text.split_once("?version=") {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        let version = version.map(str::parse).transpose();
        match (name.parse(), version) {
            (Ok(name), Ok(version)) => Ok(Self::Name(name, version)),
            (Err(error), _) | (_, Err(error)) => Err(error.to_string()),
        }
    }

    /// Whether a key of this name is one of them.
    pub(crate) fn fits(&self, name: &str) -> bool {
        match self {
            Self::Name(known, _) => known.as_str().eq_ignore_ascii_case(name),
            Self::Prefix(prefix) => name.to_ascii_lowercase().starts_with(prefix.as_str()),
        }
    }
}

/// What to do where no HSM is named: nothing that wouldn't count in this process.
fn how_to_name_it() -> &'static str {
    match environment::is_trusted() {
        true => "set AZURE_MANAGEDHSM_URL to its address, or write /etc/mhsm-pkcs11.conf",
        false => {
            "write /etc/mhsm-pkcs11.conf, since no variable counts in a program with raised rights"
        }
    }
}

/// Where they are in the public cloud.
const fn public_domain(service: Service) -> &'static str {
    match service {
        Service::ManagedHsm => "managedhsm.azure.net",
        Service::KeyVault => "vault.azure.net",
    }
}

impl TokenSettings {
    /// The only token, as the environment says.
    pub(super) fn of_environment() -> Result<Self, String> {
        let client = Settings::read(Setting::from_env).map_err(|error| error.to_string())?;
        let host = client.endpoint.as_ref().and_then(Url::host_str);
        let name = host.and_then(|host| host.split('.').next());
        let name: Option<VaultName> = name.and_then(|name| name.parse().ok());
        let problem = match (&client.endpoint, &name) {
            (None, _) => Some(format!(
                "it is not known which HSM to ask: {}",
                how_to_name_it()
            )),
            // A name may be missing, as for an address of four numbers: it is for sentences only.
            _ => probe::check(&client).err(),
        };
        let name = match name {
            Some(name) => name,
            None => "ManagedHSM"
                .parse()
                .map_err(|error: managed_hsm::UriError| error.to_string())?,
        };
        let mut token = Self {
            slot: 0,
            label: name.to_string(),
            vault: Vault::new(Service::ManagedHsm, name),
            by_pin: !has_credential(&client.credentials),
            requires_login: false,
            client,
            keys: None,
            never_lists: false,
            hides_disabled: false,
            certificates: Sources::default(),
            problem,
        };
        token.requires_login = token.by_pin;
        token.leave_out_tools();
        Ok(token)
    }

    /// Tells what is wrong with the environment's token, which no call of a program that only looks
    /// for tokens does. That no HSM is named stands in the log alone: p11-kit loads the module into
    /// programs that want none of it.
    pub(super) fn tell_problem(&self) {
        let Some(problem) = &self.problem else { return };
        match &self.client.endpoint {
            None => log::warn!("there is no token: {problem} ('akv pkcs11 check' tells more)"),
            Some(_) => report::warning(problem),
        }
    }

    /// A line for the log: where it is and as whom it is asked, without anything secret.
    pub(crate) fn summary(&self) -> String {
        let Self { slot, vault, .. } = self;
        if let Some(problem) = &self.problem {
            return format!("slot {slot} has no token: {problem}");
        }
        let address = match self.client.address(vault) {
            Ok(url) => url.to_string(),
            Err(error) => error.to_string(),
        };
        let identity = match self.by_pin {
            true => "the program's PIN".to_owned(),
            false => {
                let names = self.client.credentials.selection.iter();
                let names: Vec<&str> = names.map(|kind| kind.name()).collect();
                names.join(", ")
            }
        };
        format!("slot {slot}: {vault} at {address}, asked with {identity}")
    }

    /// The credentials of developers' tools are no default here: they start programs, which a
    /// library in somebody else's process has no business to do.
    fn leave_out_tools(&mut self) {
        let selection = &mut self.client.credentials.selection;
        if selection.is_empty() {
            selection.extend(CredentialKind::ALL.into_iter().filter(|kind| {
                !matches!(
                    kind,
                    CredentialKind::AzureCli
                        | CredentialKind::AzureDeveloperCli
                        | CredentialKind::AzurePowerShell
                )
            }));
        }
    }
}

/// Whether there is a credential without anybody's PIN.
fn has_credential(credentials: &CredentialSettings) -> bool {
    !credentials.selection.is_empty()
        || credentials.access_token.is_some()
        || credentials.token_file.is_some()
        || credentials.client_secret.is_some()
        || credentials.client_certificate.is_some()
        || credentials.federated_token_file.is_some()
        || credentials.managed_identity.is_some()
        || credentials.identity_endpoint.is_some()
}

/// Looks at what a file says outside its tokens, for all of them. A mistake there is none of a
/// token's: it would leave each slot empty, and a program would be told that it has no tokens.
pub(super) fn check_top(root: &Section, mistakes: &mut Mistakes) {
    if let Some(options) = mistakes.take_told(root.section("options"))
        && mistakes.take_told(options.flag("DisableTLSAuthentication")) == Some(true)
    {
        report::warning(&options.problem(
            "DisableTLSAuthentication",
            "it is not honoured: certificates are always verified; name the CA's certificate in caFile",
        ));
    }
    Msi::read(root, mistakes);
    let connections = Connections::read(root, mistakes);
    read_settings(|setting| connections.find(setting, &[root]), mistakes);
}

/// All tokens of a file. `mistakes`: those that leave no slot; `of_tokens`: those of the tokens.
pub(super) fn read_all(
    root: &Section,
    mistakes: &mut Mistakes,
    of_tokens: &mut Mistakes,
) -> Vec<TokenSettings> {
    let sections = mistakes.take(root.sections("tokens"));
    if sections.as_ref().is_some_and(Vec::is_empty) {
        mistakes.note(root.problem("tokens", "there is no token in it"));
    }
    let mut tokens: Vec<TokenSettings> = Vec::new();
    for (at, section) in sections.iter().flatten().enumerate() {
        let slot = mistakes.take_told(section.number("slotid", 0..=u64::from(u32::MAX)));
        let slot = slot.unwrap_or(at as u64);
        if tokens.iter().any(|token| token.slot == slot) {
            mistakes.note(section.problem("slotid", &format!("there is another slot {slot}")));
        }
        let token = read(root, section, slot).or_else(|problems| {
            of_tokens.extend(&problems);
            without_token(slot, problems.text())
        });
        let Some(token) = mistakes.take(token) else {
            continue;
        };
        warn_of_same_label(section, &tokens, &token);
        warn_of_same_address(section, &tokens, &token);
        tokens.push(token);
    }
    tokens
}

/// URIs name a token by its label: another one of the same label is never meant.
fn warn_of_same_label(section: &Section, before: &[TokenSettings], token: &TokenSettings) {
    let is_same = |other: &&TokenSettings| {
        other.label == token.label && token.problem.is_none() && other.problem.is_none()
    };
    if let Some(other) = before.iter().find(is_same) {
        let problem = format!(
            "the token in slot {} is '{}' as well, and programs that choose by labels take either: \
             give each a label of its own",
            other.slot, token.label
        );
        report::warning(&section.problem("label", &problem));
    }
}

/// The environment tells one address for all HSMs that the file tells none for.
fn warn_of_same_address(section: &Section, before: &[TokenSettings], token: &TokenSettings) {
    let address = |token: &TokenSettings| {
        let usable = token.problem.is_none();
        usable.then(|| token.client.address(&token.vault).ok())?
    };
    let is_same =
        |other: &&TokenSettings| other.vault != token.vault && address(other) == address(token);
    if let Some(url) = address(token)
        && let Some(other) = before.iter().find(is_same)
    {
        let problem = format!(
            "it is at {url}, as is '{}' in slot {}, so that both have the same keys: give each its \
             endpoint",
            other.vault.name, other.slot
        );
        report::warning(&section.problem("resourceName", &problem));
    }
}

/// What stands for an HSM whose name is not known, in sentences.
fn unnamed_vault() -> Result<Vault, String> {
    let name: Result<VaultName, _> = "ManagedHSM".parse();
    let name = name.map_err(|error| error.to_string())?;
    Ok(Vault::new(Service::ManagedHsm, name))
}

/// A slot whose token's settings are of no use.
fn without_token(slot: CK_SLOT_ID, problem: String) -> Result<TokenSettings, String> {
    Ok(TokenSettings {
        slot,
        label: String::new(),
        vault: unnamed_vault()?,
        client: Settings::default(),
        by_pin: true,
        requires_login: true,
        keys: None,
        never_lists: false,
        hides_disabled: false,
        certificates: Sources::default(),
        problem: Some(problem),
    })
}

fn read(root: &Section, section: &Section, slot: CK_SLOT_ID) -> Result<TokenSettings, Mistakes> {
    let mut all = Mistakes::default();
    let mistakes = &mut all;
    let mut client = client(root, section, mistakes);
    // What comes after a mistake is looked at all the same.
    let vault = match vault(section, mistakes) {
        Some(vault) => vault,
        None => match mistakes.take(unnamed_vault()) {
            Some(vault) => vault,
            None => return Err(all),
        },
    };
    mistakes.take(check_protocol(section));
    mistakes.take(address(section, &vault, &mut client));
    mistakes.take(check_random(root, &vault));
    let msi = Msi::read(root, mistakes);
    msi.select(section, &mut client.credentials);
    mistakes.take(probe::check(&client));
    let by_pin = !msi.is_asked && !has_credential(&client.credentials);
    let login = mistakes.take_told(section.choice("login", &["required", "none"]));
    let label = mistakes.take_told(section.text("label"));
    if label.as_ref().is_some_and(|label| label.len() > 32) {
        mistakes.note(section.problem("label", "it has more than 32 bytes"));
    }
    let keys = mistakes.take_told(section.texts("keys")).map(|texts| {
        KeyPattern::parse_all(&texts).map_err(|problem| section.problem("keys", &problem))
    });
    let listing = mistakes.take_told(section.choice("listing", &["never", "allowed"]));
    let mut token = TokenSettings {
        slot,
        label: label.unwrap_or_else(|| vault.name.to_string()),
        vault,
        client,
        by_pin: match login {
            Some(1) => false,
            _ => by_pin,
        },
        requires_login: login.map_or(by_pin, |at| at == 0),
        keys: mistakes.take_told(keys.transpose()),
        never_lists: listing == Some(0),
        hides_disabled: mistakes.take_told(section.flag("showDisabled")) == Some(false),
        certificates: certificates(section, mistakes),
        problem: None,
    };
    token.leave_out_tools();
    all.unless_any(token)
}

/// Refuses random bytes from a service that has none: each call would fail.
fn check_random(root: &Section, vault: &Vault) -> Result<(), String> {
    let by_service = root.choice("random", &["hsm", "local"])? == Some(0);
    match by_service && vault.service == Service::KeyVault {
        false => Ok(()),
        true => Err(root.problem(
            "random",
            "a key vault has no random bytes: set it to local, or give the vault a file of its own",
        )),
    }
}

/// Where certificates are. Each file and folder that is named has to be there, and to be read, now.
fn certificates(section: &Section, mistakes: &mut Mistakes) -> Sources {
    let absolute = |key: &str, path: &str| {
        let path = std::path::absolute(path);
        path.map_err(|error| section.problem(key, &format!("it names no path ({error})")))
    };
    let places = mistakes.take_told(section.texts("certificates"));
    let places = places.iter().flatten();
    let places = places.map(|path| absolute("certificates", path));
    let folder = mistakes.take_told(section.text("certificateDirectory"));
    let folder = folder.map(|path| absolute("certificateDirectory", &path));
    let sources = Sources {
        places: mistakes.take(places.collect()).unwrap_or_default(),
        folder: mistakes.take_told(folder.transpose()),
    };
    // What will pass is no mistake.
    let is_away = |path: &Path| managed_hsm::files::is_away_for_now(path);
    let folder_is_away = sources.folder.as_deref().is_some_and(is_away);
    if let Err(problem) = sources.look_into_folder()
        && !folder_is_away
    {
        mistakes.note(section.problem("certificateDirectory", &problem));
    }
    match sources.look_at_places() {
        Err(problem) => {
            if !sources.places.iter().any(|place| is_away(place)) {
                mistakes.note(section.problem("certificates", &problem));
            }
        }
        Ok(seen) => {
            let (_, problems) = files::read(&seen, &HashSet::new());
            let mut named = problems;
            named.retain(|(path, _)| sources.names(path) && !is_away(path));
            for (_, problem) in named {
                mistakes.note(section.problem("certificates", &problem));
            }
        }
    }
    sources
}

fn vault(section: &Section, mistakes: &mut Mistakes) -> Option<Vault> {
    let service = match mistakes.take_told(section.text("resourceType")).as_deref() {
        None => Service::ManagedHsm,
        Some(kind) if kind.eq_ignore_ascii_case("mhsm") => Service::ManagedHsm,
        Some(kind) if kind.eq_ignore_ascii_case("vault") => Service::KeyVault,
        Some(kind) => {
            let problem = format!("'{}' is neither mhsm nor vault", kind.escape_debug());
            mistakes.note(section.problem("resourceType", &problem));
            Service::ManagedHsm
        }
    };
    let name = mistakes.take(section.required("resourceName"))?.parse();
    let name = name.map_err(|error: managed_hsm::UriError| {
        section.problem("resourceName", &error.to_string())
    });
    Some(Vault::new(service, mistakes.take(name)?))
}

/// What a file says of the managed identity, in all slots.
#[derive(Default)]
struct Msi {
    /// Whether it is the one that asks.
    is_asked: bool,
    client_id: Option<String>,
}

impl Msi {
    fn read(root: &Section, mistakes: &mut Mistakes) -> Self {
        let Some(msi) = mistakes.take_told(root.section("msi")) else {
            return Self::default();
        };
        mistakes.take_told(msi.flag("enableIMDSCache"));
        Self {
            is_asked: mistakes.take_told(msi.flag("identityMSI")) == Some(true),
            client_id: mistakes.take_told(msi.text("MSIClientID")),
        }
    }

    /// Has it be the one that asks for a token, unless that has another one.
    fn select(&self, section: &Section, credentials: &mut CredentialSettings) {
        let is_own = self.is_asked && section.value("credential").is_none();
        if is_own {
            credentials.selection = vec![CredentialKind::ManagedIdentity];
        }
        // Something else may have selected it, such as mhsm_p11_create_key --identity.
        let is_selected = credentials.selection == [CredentialKind::ManagedIdentity];
        if let Some(id) = &self.client_id
            && (is_own || is_selected && credentials.managed_identity.is_none())
        {
            credentials.managed_identity = Some(ManagedIdentityId::Client(id.clone()));
        }
    }
}

/// What a file says of connections, in all slots.
struct Connections {
    section: Option<Section>,
    keeps_none: bool,
}

impl Connections {
    fn read(root: &Section, mistakes: &mut Mistakes) -> Self {
        let section = mistakes.take_told(root.section("ConnectionCache"));
        let disable = section.as_ref().map(|section| section.flag("Disable"));
        let disable = disable.and_then(|disable| mistakes.take_told(disable));
        Self {
            keeps_none: disable == Some(true),
            section,
        }
    }

    /// The value of one of the client's settings, which has the name of the provider's without
    /// hyphens: the first that there is in these places.
    fn find(
        &self,
        setting: &'static Setting,
        places: &[&Section],
    ) -> Result<Option<(String, Origin)>, managed_hsm::Error> {
        let key = SPELLING.of(setting.key.unwrap_or_default());
        let (places, further) = match &*key {
            // The vault's address is told in other words.
            "" | "endpoint" | "endpoints" | "keyVaultEndpoint" => (&[][..], None),
            "maxConnections" => (places, self.section.as_ref()),
            _ => (places, None),
        };
        let mut found = None;
        // One that another one overrides is known all the same.
        for place in places.iter().copied().chain(further) {
            let origin = Origin::File {
                key: key.clone(),
                file: place.file(),
            };
            match place.as_setting(&key) {
                Ok(value) => found = found.or_else(|| value.map(|value| (value, origin))),
                Err(problem) => return Err(managed_hsm::Error::setting(&origin, problem)),
            }
        }
        Ok(found)
    }
}

/// The client's settings: of the token, else of the whole file, else of the environment.
fn client(root: &Section, section: &Section, mistakes: &mut Mistakes) -> Settings {
    let connections = Connections::read(root, mistakes);
    let find = |setting: &'static Setting| match connections.find(setting, &[section, root])? {
        Some(found) => Ok(Some(found)),
        None => setting.from_env(),
    };
    let mut settings = read_settings(find, mistakes);
    if connections.keeps_none {
        settings.idle_timeout = Duration::ZERO;
    }
    settings
}

/// Refuses what would send tokens in the clear.
fn check_protocol(section: &Section) -> Result<(), String> {
    let protocol = section.text("protocol")?;
    let protocol = protocol.map(|protocol| protocol.to_ascii_lowercase());
    match protocol.as_deref() {
        None | Some("https" | "https://") => Ok(()),
        Some(_) => Err(section.problem(
            "protocol",
            "it is not https://; a token is never sent in the clear",
        )),
    }
}

/// Where the vault is: as the environment or `endpoint` says, else at its name in the domain `uri`.
fn address(section: &Section, vault: &Vault, client: &mut Settings) -> Result<(), String> {
    let usual = public_domain(vault.service);
    let domain = section.text("uri")?.unwrap_or_else(|| usual.to_owned());
    let domain = domain.trim_start_matches('.');
    let endpoint = section.text("endpoint")?;
    let (key, url) = match &endpoint {
        Some(endpoint) => ("endpoint", endpoint.clone()),
        None if client.endpoint_of(vault).is_some() || domain == usual => return Ok(()),
        None => ("uri", format!("https://{}.{domain}", vault.name)),
    };
    let parsed = Url::parse(&url).ok().filter(|url| {
        url.scheme() == "https"
            && url.host_str().is_some()
            && url.path() == "/"
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    match parsed {
        Some(url) => client.endpoints.insert(0, (vault.clone(), url)),
        // Without its value, in which there may be a password.
        None => return Err(section.problem(key, "it is not https://<host>[:<port>]")),
    }
    Ok(())
}

/// The application that a PIN is a secret of, if that doesn't name one.
pub(crate) fn usual_application(client: &CredentialSettings) -> Option<String> {
    let variable = environment::variable("MHSM_CLIENT_ID");
    variable
        .and_then(|id| id.into_string().ok())
        .filter(|id| !id.is_empty())
        .or_else(|| client.client_id.clone())
}
