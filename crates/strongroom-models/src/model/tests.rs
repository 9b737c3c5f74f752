use std::collections::HashMap;

use candle_core::{Device, Tensor};
use serde::Deserialize;

use super::config::{ConfigError, DecoderConfig, Family};
use super::decoder::{Decoder, Kernels, Past, Weights};

/// Numbers made outside this crate: logits of another implementation for the same weights.
#[derive(Deserialize)]
struct Reference {
    name: String,
    config: serde_json::Value,
    tokens: Vec<u32>,
    /// After the last token.
    logits: Vec<f32>,
}

fn references() -> Vec<Reference> {
    serde_json::from_str(include_str!("../../tests/decoder-reference.json")).expect("reference file")
}

/// Weights that anyone can make again: entry `i` of a tensor is (hash(name, i) / 2^32 - 1/2) / 5, where the hash is FNV-1a
/// (32 bits) over the name's bytes and the four little-endian bytes of `i`; norms have 1 added.
fn weights(config: &DecoderConfig) -> Weights {
    let (hidden, wide) = (config.hidden, config.intermediate);
    let (query, kv) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        (
            "model.embed_tokens.weight".into(),
            vec![config.vocabulary, hidden],
        ),
        ("model.norm.weight".into(), vec![hidden]),
    ];
    if !config.tied {
        shapes.push(("lm_head.weight".into(), vec![config.vocabulary, hidden]));
    }
    for layer in 0..config.layers {
        let mut add =
            |name: &str, shape: &[usize]| shapes.push((format!("model.layers.{layer}.{name}"), shape.into()));
        add("input_layernorm.weight", &[hidden]);
        add("post_attention_layernorm.weight", &[hidden]);
        for (name, rows, columns) in [
            ("q", query, hidden),
            ("k", kv, hidden),
            ("v", kv, hidden),
            ("o", hidden, query),
        ] {
            add(&format!("self_attn.{name}_proj.weight"), &[rows, columns]);
            if config.qkv_bias && name != "o" {
                add(&format!("self_attn.{name}_proj.bias"), &[rows]);
            }
        }
        add("mlp.gate_proj.weight", &[wide, hidden]);
        add("mlp.up_proj.weight", &[wide, hidden]);
        add("mlp.down_proj.weight", &[hidden, wide]);
    }
    shapes
        .into_iter()
        .map(|(name, shape)| (name.clone(), tensor(&name, &shape)))
        .collect()
}

fn tensor(name: &str, shape: &[usize]) -> Tensor {
    let entries = u32::try_from(shape.iter().product::<usize>()).expect("small");
    let one = if name.ends_with("norm.weight") { 1.0 } else { 0.0 };
    let values: Vec<f32> = (0..entries)
        .map(|index| {
            let bytes = name.bytes().chain(index.to_le_bytes());
            let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| {
                (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
            });
            one + (hash as f32 / 4_294_967_296.0 - 0.5) / 5.0
        })
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).expect("tensor")
}

fn config(json: &serde_json::Value) -> DecoderConfig {
    DecoderConfig::parse(json.to_string().as_bytes()).expect("configuration")
}

/// The last logits, reading the tokens in pieces of the given sizes.
fn logits(config: &DecoderConfig, kernels: Kernels, tokens: &[u32], pieces: &[usize]) -> Vec<f32> {
    let decoder = Decoder::new(config, &mut weights(config), kernels).expect("decoder");
    let mut past = Past::new(config);
    let mut rest = tokens;
    let mut last = Vec::new();
    for piece in pieces {
        let (now, later) = rest.split_at(*piece);
        rest = later;
        let ids = Tensor::from_slice(now, (1, now.len()), &Device::Cpu).expect("tokens");
        let hidden = decoder.hidden(&ids, Some(&mut past)).expect("hidden");
        let end = hidden
            .narrow(1, now.len() - 1, 1)
            .expect("last")
            .contiguous()
            .expect("last");
        last = decoder
            .logits(&end)
            .expect("logits")
            .flatten_all()
            .expect("flat")
            .to_vec1()
            .expect("numbers");
    }
    assert!(rest.is_empty());
    last
}

fn assert_close(one: &[f32], other: &[f32], what: &str) {
    assert_eq!(one.len(), other.len(), "{what}");
    for (one, other) in one.iter().zip(other) {
        assert!((one - other).abs() < 2e-4, "{what}: {one} is not {other}");
    }
}

#[test]
fn the_decoder_computes_what_another_implementation_computes() {
    for reference in references() {
        let config = config(&reference.config);
        let all = [reference.tokens.len()];
        let ours = logits(&config, Kernels::Fused, &reference.tokens, &all);
        assert_close(&ours, &reference.logits, &reference.name);
    }
}

#[test]
fn reading_in_pieces_and_reading_at_once_give_the_same() {
    for reference in references() {
        let config = config(&reference.config);
        let length = reference.tokens.len();
        for pieces in [vec![1; length], vec![3, length - 4, 1], vec![length - 2, 2]] {
            let ours = logits(&config, Kernels::Fused, &reference.tokens, &pieces);
            assert_close(&ours, &reference.logits, &reference.name);
        }
    }
}

#[test]
fn the_kernels_for_training_compute_the_same_as_the_fused_ones() {
    for reference in references() {
        let config = config(&reference.config);
        let ours = logits(
            &config,
            Kernels::Differentiable,
            &reference.tokens,
            &[reference.tokens.len()],
        );
        assert_close(&ours, &reference.logits, &reference.name);
    }
}

#[test]
fn missing_and_misshapen_weights_are_errors_that_name_them() {
    let config = config(&references()[0].config);
    let mut lacking = weights(&config);
    lacking.remove("model.layers.1.mlp.up_proj.weight");
    let error = Decoder::new(&config, &mut lacking, Kernels::Fused)
        .err()
        .expect("error")
        .to_string();
    assert!(error.contains("model.layers.1.mlp.up_proj.weight"), "{error}");
    let mut bent = weights(&config);
    bent.insert("model.norm.weight".into(), tensor("x", &[3]));
    let error = Decoder::new(&config, &mut bent, Kernels::Fused)
        .err()
        .expect("error")
        .to_string();
    assert!(error.contains("model.norm.weight"), "{error}");
}

fn changed(changes: serde_json::Value) -> Result<DecoderConfig, ConfigError> {
    let mut json = references().swap_remove(0).config;
    let serde_json::Value::Object(changes) = changes else {
        panic!("not an object")
    };
    json.as_object_mut().expect("object").extend(changes);
    DecoderConfig::parse(json.to_string().as_bytes())
}

#[test]
fn configurations_that_the_decoder_does_not_speak_are_refused() {
    for change in [
        serde_json::json!({"model_type": "gpt2"}),
        serde_json::json!({"hidden_act": "gelu"}),
        serde_json::json!({"mlp_bias": true}),
        serde_json::json!({"quantization_config": {"bits": 4}}),
        serde_json::json!({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}),
    ] {
        let refused = changed(change.clone());
        assert!(
            matches!(refused, Err(ConfigError::Unsupported { .. })),
            "{change}"
        );
    }
}

#[test]
fn impossible_shapes_are_refused_before_anything_is_made_of_them() {
    let refused: HashMap<&str, serde_json::Value> = HashMap::from([
        ("vocab_size", serde_json::json!(0)),
        ("hidden_size", serde_json::json!(1u64 << 40)),
        ("num_hidden_layers", serde_json::json!(100_000)),
        ("num_attention_heads", serde_json::json!(0)),
        ("num_key_value_heads", serde_json::json!(3)),
        ("head_dim", serde_json::json!(7)),
        ("max_position_embeddings", serde_json::json!(0)),
        ("rms_norm_eps", serde_json::json!(-1.0)),
        ("rope_theta", serde_json::json!(0.0)),
    ]);
    for (field, value) in refused {
        let refused = changed(serde_json::json!({field: value}));
        assert!(matches!(refused, Err(ConfigError::Impossible { .. })), "{field}");
    }
}

#[test]
fn newer_spellings_of_a_configuration_are_understood() {
    let parameters = serde_json::json!({"rope_parameters": {"rope_type": "default", "rope_theta": 5000.0},
        "rope_theta": null, "eos_token_id": [1, 2], "sliding_window": null, "use_sliding_window": false});
    let config = changed(parameters).expect("configuration");
    assert_eq!(
        (config.rope_theta, config.ends, config.family),
        (5000.0, vec![1, 2], Family::Llama)
    );
    let window = serde_json::json!({"use_sliding_window": true, "sliding_window": 16});
    assert_eq!(changed(window).expect("configuration").context, 16);
}
