//! Sealing, opening, erasing.

use events::{EventId, Sealed, TenantId};
use projections::{Keyring, KeyringError};
use secrecy::SecretString;

use crate::support::postgres::TestDatabase;

fn keyring(test: &TestDatabase, byte: u8) -> Keyring {
    use base64::Engine;
    let secret = base64::engine::general_purpose::STANDARD.encode([byte; 32]);
    Keyring::new(test.database.clone(), &SecretString::from(secret)).unwrap()
}

#[tokio::test]
async fn what_was_sealed_opens_in_another_process() {
    let test = TestDatabase::start().await;
    let (tenant_id, event_id) = (TenantId::new(), EventId::new());
    let writer = keyring(&test, 1);
    let customer = writer.customer_key(tenant_id, "customer-1").await.unwrap();
    let words = writer.seal(tenant_id, customer.0, event_id, "my number is 555 🙂").await.unwrap();
    let secret = writer.seal(tenant_id, tenant_id.0, event_id, "whsec").await.unwrap();

    let reader = keyring(&test, 1);
    assert_eq!(
        reader.open(tenant_id, event_id, &words).await.unwrap().as_deref(),
        Some("my number is 555 🙂")
    );
    assert_eq!(reader.open(tenant_id, event_id, &secret).await.unwrap().as_deref(), Some("whsec"));
    assert_eq!(reader.customer_key(tenant_id, "customer-1").await.unwrap(), customer);
}

#[tokio::test]
async fn a_value_opens_only_for_its_event_its_key_and_its_tenant() {
    let test = TestDatabase::start().await;
    let keyring_one = keyring(&test, 1);
    let (tenant_id, event_id) = (TenantId::new(), EventId::new());
    let one = keyring_one.customer_key(tenant_id, "one").await.unwrap();
    let two = keyring_one.customer_key(tenant_id, "two").await.unwrap();
    let sealed = keyring_one.seal(tenant_id, one.0, event_id, "words").await.unwrap();

    let moved = keyring_one.open(tenant_id, EventId::new(), &sealed).await;
    assert!(matches!(moved, Err(KeyringError::Corrupt { .. })));
    let relabelled = Sealed { key_id: two.0, ..sealed.clone() };
    assert!(matches!(
        keyring_one.open(tenant_id, event_id, &relabelled).await,
        Err(KeyringError::Corrupt { .. })
    ));
    assert_eq!(keyring_one.open(TenantId::new(), event_id, &sealed).await.unwrap(), None);
    let other_secret = keyring(&test, 2).open(tenant_id, event_id, &sealed).await;
    assert!(matches!(other_secret, Err(KeyringError::Corrupt { .. })));
    let garbage = Sealed { ciphertext: "###".to_owned(), ..sealed };
    assert!(matches!(
        keyring_one.open(tenant_id, event_id, &garbage).await,
        Err(KeyringError::Corrupt { .. })
    ));
}

#[tokio::test]
async fn bytes_open_in_their_place_alone_and_no_more_once_their_customer_was_erased() {
    let test = TestDatabase::start().await;
    let keyring = keyring(&test, 1);
    let (tenant_id, place) = (TenantId::new(), EventId::new().0);
    let key_id = keyring.customer_key(tenant_id, "one").await.unwrap().0;
    let sealed = keyring.seal_bytes(tenant_id, key_id, place, &[0xff, 0x00, 0x7f]).await.unwrap();
    let opened = keyring.open_bytes(tenant_id, key_id, place, &sealed).await.unwrap();
    assert_eq!(opened.as_deref(), Some(&[0xff, 0x00, 0x7f][..]));
    let moved = keyring.open_bytes(tenant_id, key_id, EventId::new().0, &sealed).await;
    assert!(matches!(moved, Err(KeyringError::Corrupt { .. })));
    assert!(keyring.erase_customer(tenant_id, "one").await.unwrap());
    assert_eq!(keyring.open_bytes(tenant_id, key_id, place, &sealed).await.unwrap(), None);
}

#[tokio::test]
async fn an_erased_customers_words_are_gone() {
    let test = TestDatabase::start().await;
    let keyring_one = keyring(&test, 1);
    let (tenant_id, event_id) = (TenantId::new(), EventId::new());
    let customer = keyring_one.customer_key(tenant_id, "customer-1").await.unwrap();
    let sealed = keyring_one.seal(tenant_id, customer.0, event_id, "words").await.unwrap();

    assert!(keyring_one.erase_customer(tenant_id, "customer-1").await.unwrap());
    assert!(!keyring_one.erase_customer(tenant_id, "customer-1").await.unwrap());

    assert_eq!(keyring_one.open(tenant_id, event_id, &sealed).await.unwrap(), None);
    let again = keyring_one.seal(tenant_id, customer.0, event_id, "more").await;
    assert!(matches!(again, Err(KeyringError::Erased { key_id }) if key_id == customer.0));
    assert_ne!(keyring_one.customer_key(tenant_id, "customer-1").await.unwrap(), customer);
}

#[tokio::test]
async fn callers_that_race_get_one_key_per_customer() {
    let test = TestDatabase::start().await;
    let tenant_id = TenantId::new();
    let racers = (0..8).map(|_| keyring(&test, 1)).collect::<Vec<_>>();
    let keys =
        futures_util::future::join_all(racers.iter().map(|ring| ring.customer_key(tenant_id, "one"))).await;
    let first = *keys[0].as_ref().unwrap();
    assert!(keys.into_iter().all(|key| key.unwrap() == first));
}

#[tokio::test]
async fn no_name_and_no_key_stands_in_clear() {
    let test = TestDatabase::start().await;
    let tenant_id = TenantId::new();
    keyring(&test, 1).customer_key(tenant_id, "alice@example.org").await.unwrap();
    let hash: Vec<u8> = sqlx::query_scalar("select customer_id_hash from customer_keys")
        .fetch_one(&test.admin)
        .await
        .unwrap();
    assert!(!String::from_utf8_lossy(&hash).contains("alice"));
    let wrapped: Vec<u8> =
        sqlx::query_scalar("select wrapped from tenant_keys").fetch_one(&test.admin).await.unwrap();
    assert_eq!(wrapped.len(), 12 + 32 + 16);
}

#[tokio::test]
async fn a_secret_key_of_another_length_is_refused() {
    let test = TestDatabase::start().await;
    for wrong in ["", "c2hvcnQ=", "not base64"] {
        assert!(Keyring::new(test.database.clone(), &SecretString::from(wrong)).is_err());
    }
}
