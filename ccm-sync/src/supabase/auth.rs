//! The auth server: signing in and out, second factors, new tokens.

use std::fmt;

use ccm_core::{Error, ErrorKind, Result};
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use super::failure;
use super::http::{Call, Http, PATIENCE, Reply};
use super::jwt;
use super::session::Session;
use super::{Project, Secret};

/// How many second factors a code is tried with.
const MAX_FACTORS: usize = 5;

/// What came of a password.
#[derive(Debug)]
pub enum SignIn {
    /// Somebody is signed in.
    Done(SignedIn),
    /// The account has a second factor.
    SecondFactor(SecondFactor),
}

/// Somebody who is signed in. Nothing is kept before [`AuthFile::save`](super::AuthFile::save).
pub struct SignedIn {
    pub(super) session: Session,
}

/// A sign-in that waits for the code of an authenticator app.
pub struct SecondFactor {
    http: Http,
    session: Session,
    factors: Vec<Factor>,
}

#[derive(Debug, Clone, Deserialize)]
struct Factor {
    id: Uuid,
    #[serde(default)]
    factor_type: String,
    #[serde(default)]
    status: String,
}

#[derive(Deserialize)]
struct User {
    id: Uuid,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    factors: Option<Vec<Factor>>,
}

#[derive(Deserialize)]
struct Tokens {
    access_token: Secret,
    refresh_token: Secret,
    expires_in: i64,
    #[serde(default)]
    user: Option<User>,
}

/// Signs in with a password. The account must be there and confirmed.
///
/// # Errors
/// `Unauthenticated`, with what to do, when the server does not let this person in; `Unavailable` when it can't be asked.
pub async fn sign_in(project: &Project, email: &str, password: &Secret) -> Result<SignIn> {
    let http = Http::new(project.clone(), 1);
    let body = json!({ "email": email, "password": password.expose() });
    let tokens: Tokens = post(&http, "/token?grant_type=password", None, &body).await?;
    let session = session(&http, tokens, None)?;
    // The list in the token's answer is not there in all versions.
    let user: User = get(&http, "/user", &session.access).await?;
    let all = user.factors.unwrap_or_default();
    let mut factors: Vec<Factor> = all
        .into_iter()
        .filter(|it| it.status == "verified")
        .collect();
    if factors.is_empty() {
        return Ok(SignIn::Done(SignedIn { session }));
    }
    factors.retain(|factor| factor.factor_type == "totp");
    factors.truncate(MAX_FACTORS);
    if factors.is_empty() {
        sign_out(&http, &session.access).await?;
        return Err(Error::new(
            ErrorKind::Unauthenticated,
            "the account's second factor is no authenticator app, which is the only kind that can be used here: add one to \
             the account",
        ));
    }
    Ok(SignIn::SecondFactor(SecondFactor {
        http,
        session,
        factors,
    }))
}

impl SecondFactor {
    /// Gives the code of an authenticator app. An account with several of them takes that of any. May be tried again with
    /// another code.
    ///
    /// # Errors
    /// `Unauthenticated` for a wrong code.
    pub async fn verify(&self, code: &Secret) -> Result<SignedIn> {
        let code = code.expose().replace([' ', '-'], "");
        let mut refused = None;
        for factor in &self.factors {
            match self.verify_with(factor, &code).await {
                Ok(session) => return Ok(SignedIn { session }),
                Err(error) if error.kind() == ErrorKind::Unauthenticated => {
                    refused.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(refused.unwrap_or_else(|| Error::internal("there is no second factor")))
    }

    async fn verify_with(&self, factor: &Factor, code: &str) -> Result<Session> {
        #[derive(Deserialize)]
        struct Challenge {
            id: Uuid,
        }
        let path = format!("/factors/{}/challenge", factor.id);
        let bearer = Some(&self.session.access);
        let challenge: Challenge = post(&self.http, &path, bearer, &json!({})).await?;
        let path = format!("/factors/{}/verify", factor.id);
        let body = json!({ "challenge_id": challenge.id, "code": code });
        let tokens: Tokens = post(&self.http, &path, bearer, &body).await?;
        session(&self.http, tokens, Some(&self.session))
    }

    /// Gives up, so that no half sign-in stays on the server.
    ///
    /// # Errors
    /// `Unavailable` when the server can't be asked. It ends by itself then.
    pub async fn give_up(self) -> Result<()> {
        sign_out(&self.http, &self.session.access).await?;
        Ok(())
    }
}

/// New tokens for old ones.
///
/// # Errors
/// `Unauthenticated` when the sign-in is over, `WrongState` never; `Unavailable` when another program does the same now.
pub(super) async fn refresh(http: &Http, old: &Session) -> Result<Session> {
    let body = json!({ "refresh_token": old.refresh.expose() });
    let tokens: Tokens = post(http, "/token?grant_type=refresh_token", None, &body).await?;
    session(http, tokens, Some(old))
}

/// Ends this sign-in, and no other of the account. `false` if the token is not accepted: then the sign-in is over already,
/// or the token too old.
pub(super) async fn sign_out(http: &Http, token: &Secret) -> Result<bool> {
    let reply = ask(http, Method::POST, "/logout?scope=local", Some(token), None).await?;
    match reply.status {
        status if status.is_success() => Ok(true),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Ok(false),
        _ => Err(failure::of_auth(&reply)),
    }
}

/// Whether the auth server of the project answers.
pub(super) async fn is_there(http: &Http) -> Result<()> {
    let reply = ask(http, Method::GET, "/settings", None, None).await?;
    match reply.status.is_success() {
        true => Ok(()),
        false => Err(failure::of_auth(&reply)),
    }
}

fn session(http: &Http, tokens: Tokens, before: Option<&Session>) -> Result<Session> {
    let claims = jwt::claims(tokens.access_token.expose());
    let claims = claims.ok_or_else(|| failure::unreadable("the sign-in"))?;
    let user = tokens.user.as_ref();
    let id = user.map(|user| user.id).or(claims.sub);
    let email = user.and_then(|user| user.email.clone());
    let id = id.ok_or_else(|| failure::unreadable("the sign-in"))?;
    if before.is_some_and(|before| before.user != id) {
        return Err(failure::unreadable("the sign-in"));
    }
    Ok(Session {
        url: http.project().url().to_owned(),
        user: id,
        email: email
            .or_else(|| before.map(|before| before.email.clone()))
            .unwrap_or_default(),
        access: tokens.access_token,
        refresh: tokens.refresh_token,
        expires: super::session::now().saturating_add(tokens.expires_in.clamp(0, 31_622_400)),
        aal: claims.aal.unwrap_or_else(|| "aal1".to_owned()),
        id: claims.session_id,
        began: before.map_or_else(super::session::now, |before| before.began),
    })
}

async fn post<T: DeserializeOwned>(
    http: &Http,
    path: &str,
    bearer: Option<&Secret>,
    body: &Value,
) -> Result<T> {
    answer(ask(http, Method::POST, path, bearer, Some(body)).await?)
}

async fn get<T: DeserializeOwned>(http: &Http, path: &str, bearer: &Secret) -> Result<T> {
    answer(ask(http, Method::GET, path, Some(bearer), None).await?)
}

async fn ask(
    http: &Http,
    method: Method,
    path: &str,
    bearer: Option<&Secret>,
    body: Option<&Value>,
) -> Result<Reply> {
    let path = format!("/auth/v1{path}");
    let call = Call {
        method,
        path: &path,
        bearer,
        body: body.map(|body| body.to_string().into()),
        patience: PATIENCE,
    };
    http.ask(call).await
}

fn answer<T: DeserializeOwned>(reply: Reply) -> Result<T> {
    if !reply.status.is_success() {
        return Err(failure::of_auth(&reply));
    }
    // The parser's own words would repeat some of the answer.
    serde_json::from_slice(&reply.body).map_err(|_| failure::unreadable("the sign-in"))
}

impl SignedIn {
    /// Whose account it is.
    pub fn email(&self) -> &str {
        &self.session.email
    }

    /// The account.
    pub fn user(&self) -> Uuid {
        self.session.user
    }
}

impl fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SignedIn")
            .field(&self.session.email)
            .finish()
    }
}

impl fmt::Debug for SecondFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecondFactor")
            .field("factors", &self.factors.len())
            .finish_non_exhaustive()
    }
}
