use super::*;

fn load(made: &Made) -> Arc<dyn PrivateKey> {
    SoftwareKeys.load(made.spec, &made.private, &made.public).unwrap()
}

fn rsa() -> (Made, Arc<dyn PrivateKey>) {
    let made = SoftwareKeys.generate(KeySpec::Rsa2048).unwrap();
    let key = load(&made);
    (made, key)
}

const fn digest_length(algorithm: SignatureAlgorithm) -> usize {
    match algorithm {
        SignatureAlgorithm::Ps256
        | SignatureAlgorithm::Rs256
        | SignatureAlgorithm::Es256
        | SignatureAlgorithm::Es256K => 32,
        SignatureAlgorithm::Ps384 | SignatureAlgorithm::Rs384 | SignatureAlgorithm::Es384 => 48,
        SignatureAlgorithm::Ps512 | SignatureAlgorithm::Rs512 | SignatureAlgorithm::Es512 => 64,
    }
}

#[test]
fn what_was_encrypted_decrypts_with_the_same_algorithm_and_key_only() {
    let (_, key) = rsa();
    for algorithm in EncryptionAlgorithm::ALL {
        let encrypted = key.encrypt(algorithm, &[9; 32]).unwrap();
        assert_eq!(encrypted.len(), 256);
        assert_eq!(*key.decrypt(algorithm, &encrypted).unwrap(), vec![9; 32]);
        for other in EncryptionAlgorithm::ALL {
            if other != algorithm {
                assert_eq!(key.decrypt(other, &encrypted), Err(KeyFault::NotAuthentic));
            }
        }
    }
}

#[test]
fn lengths_that_cannot_be_are_the_callers_mistake() {
    let (_, key) = rsa();
    for (algorithm, longest) in EncryptionAlgorithm::ALL.into_iter().zip([190, 214, 245]) {
        assert!(key.encrypt(algorithm, &vec![0; longest]).is_ok());
        for wrong in [0, longest + 1] {
            let encrypted = key.encrypt(algorithm, &vec![0; wrong]);
            assert_eq!(encrypted, Err(KeyFault::WrongLength));
        }
        assert_eq!(key.decrypt(algorithm, &[1; 255]), Err(KeyFault::WrongLength));
        // Whatever a value lacks, it is one fault.
        assert_eq!(key.decrypt(algorithm, &[1; 256]), Err(KeyFault::NotAuthentic));
        assert_eq!(key.decrypt(algorithm, &[0; 256]), Err(KeyFault::NotAuthentic));
        assert_eq!(key.decrypt(algorithm, &[255; 256]), Err(KeyFault::NotAuthentic));
    }
}

#[test]
fn each_kind_signs_digests_by_its_algorithms_and_by_no_other() {
    for spec in [
        KeySpec::Rsa2048,
        KeySpec::P256,
        KeySpec::P384,
        KeySpec::P521,
        KeySpec::P256K,
    ] {
        let made = SoftwareKeys.generate(spec).unwrap();
        let key = load(&made);
        for algorithm in SignatureAlgorithm::ALL {
            let digest = vec![3; digest_length(algorithm)];
            let signed = key.sign(algorithm, &digest);
            if !algorithm.is_for(spec) {
                assert_eq!(signed, Err(KeyFault::WrongAlgorithm));
                assert_eq!(
                    key.verify(algorithm, &digest, &[0; 64]),
                    Err(KeyFault::WrongAlgorithm)
                );
                continue;
            }
            let mut signed = signed.unwrap();
            let length = if spec.is_rsa() {
                spec.size()
            } else {
                2 * spec.size()
            };
            assert_eq!(signed.len(), length, "{}", algorithm.name());
            assert_eq!(
                key.verify(algorithm, &digest, &signed),
                Ok(true),
                "{}",
                algorithm.name()
            );
            assert_eq!(key.verify(algorithm, &vec![4; digest.len()], &signed), Ok(false));
            assert_eq!(key.verify(algorithm, &digest, &signed[1..]), Ok(false));
            signed[5] ^= 1;
            assert_eq!(key.verify(algorithm, &digest, &signed), Ok(false));
            assert_eq!(key.sign(algorithm, &digest[1..]), Err(KeyFault::WrongLength));
            assert_eq!(key.verify(algorithm, &[], &signed), Err(KeyFault::WrongLength));
        }
    }
}

#[test]
fn a_digest_signature_is_one_of_the_message() {
    let made = SoftwareKeys.generate(KeySpec::P384).unwrap();
    let message = b"message";
    let digest = digest::digest(&digest::SHA384, message);
    let signed = load(&made)
        .sign(SignatureAlgorithm::Es384, digest.as_ref())
        .unwrap();
    let (x, y) = made.public.numbers();
    let public = UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, [&[4], x, y].concat());
    assert!(public.verify(message, &signed).is_ok());
}

#[test]
fn a_curve_key_neither_encrypts_nor_decrypts() {
    let made = SoftwareKeys.generate(KeySpec::P256).unwrap();
    let key = load(&made);
    for algorithm in EncryptionAlgorithm::ALL {
        assert_eq!(key.encrypt(algorithm, &[1; 32]), Err(KeyFault::WrongAlgorithm));
        assert_eq!(key.decrypt(algorithm, &[1; 256]), Err(KeyFault::WrongAlgorithm));
    }
}

#[test]
fn a_private_key_under_anothers_public_half_is_not_used() {
    for spec in [KeySpec::Rsa2048, KeySpec::P256] {
        let made = SoftwareKeys.generate(spec).unwrap();
        let other = SoftwareKeys.generate(spec).unwrap();
        let loaded = SoftwareKeys.load(spec, &made.private, &other.public);
        assert!(matches!(loaded, Err(KeyFault::Unusable)));
    }
    let made = SoftwareKeys.generate(KeySpec::P256).unwrap();
    let loaded = SoftwareKeys.load(KeySpec::P256K, &made.private, &made.public);
    assert!(matches!(loaded, Err(KeyFault::Unusable)));
}

/// The private number of a key on a curve.
fn foreign(spec: KeySpec) -> (EcdsaKeyPair, ForeignKey) {
    let pair = EcdsaKeyPair::generate(curve(spec).unwrap()).unwrap();
    let private: aws_lc_rs::encoding::EcPrivateKeyBin<'_> =
        aws_lc_rs::encoding::AsBigEndian::as_be_bytes(&pair.private_key()).unwrap();
    let d = Zeroizing::new(private.as_ref().to_vec());
    let PublicHalf::Ec { x, y } = public_point(spec, &pair).unwrap() else {
        unreachable!()
    };
    (pair, ForeignKey::Ec { spec, d, x, y })
}

#[test]
fn imported_curve_keys_sign_and_mismatched_ones_are_refused() {
    for (spec, algorithm) in [
        (KeySpec::P256, SignatureAlgorithm::Es256),
        (KeySpec::P384, SignatureAlgorithm::Es384),
        (KeySpec::P521, SignatureAlgorithm::Es512),
        (KeySpec::P256K, SignatureAlgorithm::Es256K),
    ] {
        let (pair, key) = foreign(spec);
        let made = SoftwareKeys.import(&key).unwrap();
        assert_eq!(Some(&made.public), public_point(spec, &pair).as_ref());
        let digest = vec![7; digest_length(algorithm)];
        let signed = load(&made).sign(algorithm, &digest).unwrap();
        assert_eq!(load(&made).verify(algorithm, &digest, &signed), Ok(true));
        let (_, other) = foreign(spec);
        let (ForeignKey::Ec { d, .. }, ForeignKey::Ec { x, y, .. }) = (key, other) else {
            unreachable!()
        };
        let mixed = ForeignKey::Ec {
            spec,
            d: d.clone(),
            x: x.clone(),
            y,
        };
        assert!(matches!(SoftwareKeys.import(&mixed), Err(KeyFault::NotAKey)));
        let off = ForeignKey::Ec {
            spec,
            d,
            y: x.clone(),
            x,
        };
        assert!(matches!(SoftwareKeys.import(&off), Err(KeyFault::NotAKey)));
    }
}

fn foreign_rsa(numbers: &[Vec<u8>]) -> ForeignKey {
    let secret = |index: usize| Zeroizing::new(numbers[index].clone());
    ForeignKey::Rsa(Box::new(ForeignRsa {
        n: numbers[0].clone(),
        e: numbers[1].clone(),
        d: secret(2),
        p: secret(3),
        q: secret(4),
        dp: secret(5),
        dq: secret(6),
        qi: secret(7),
    }))
}

#[test]
fn imported_rsa_keys_decrypt_and_damaged_ones_are_refused() {
    let numbers = crate::testing::rsa_numbers(KeySize::Rsa2048);
    let made = SoftwareKeys.import(&foreign_rsa(&numbers)).unwrap();
    assert_eq!(
        (made.spec, made.public.numbers().0),
        (KeySpec::Rsa2048, unpadded(&numbers[0]))
    );
    let key = load(&made);
    let encrypted = key.encrypt(EncryptionAlgorithm::RsaOaep256, &[8; 32]).unwrap();
    assert_eq!(
        *key.decrypt(EncryptionAlgorithm::RsaOaep256, &encrypted).unwrap(),
        vec![8; 32]
    );
    for damaged in 0..numbers.len() {
        let mut numbers = numbers.clone();
        let last = numbers[damaged].len() - 1;
        numbers[damaged][last] ^= 4;
        let imported = SoftwareKeys.import(&foreign_rsa(&numbers));
        assert!(matches!(imported, Err(KeyFault::NotAKey)), "number {damaged}");
        numbers[damaged].clear();
        let imported = SoftwareKeys.import(&foreign_rsa(&numbers));
        assert!(
            matches!(imported, Err(KeyFault::NotAKey)),
            "without number {damaged}"
        );
    }
}
