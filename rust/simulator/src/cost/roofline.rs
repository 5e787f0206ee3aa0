//! A guess from first principles, for models that nobody has measured yet.

use serde::{Deserialize, Serialize};

use super::{StepShape, not_negative};
use crate::error::{Error, Result};

/// Arithmetic and memory traffic of a step over what a GPU can do: matrix products take the longer of their arithmetic
/// and of reading the weights; attention the longer of its arithmetic and of reading keys and values.
///
/// ```json
/// {"version": 1, "kind": "roofline", "gpu": {"bandwidth_gbs": 3000, "tflops": 600, "overhead_ms": 1.0},
///  "model": {"num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8,
///            "intermediate_size": 14336, "vocab_size": 128256}}
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Roofline {
    /// What is computed.
    pub model: ModelShape,
    /// What computes it.
    pub gpu: Gpu,
}

/// The fields of a `config.json` that say how much work a token is. Other fields may be there and do not count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelShape {
    /// Layers.
    pub num_hidden_layers: u32,
    /// Width of the residual stream.
    pub hidden_size: u32,
    /// Query heads.
    pub num_attention_heads: u32,
    /// Key and value heads; as many as query heads if it is left out.
    #[serde(default)]
    pub num_key_value_heads: Option<u32>,
    /// Width of a head; `hidden_size / num_attention_heads` if it is left out.
    #[serde(default)]
    pub head_dim: Option<u32>,
    /// Width of the gated feed-forward part (of one expert, where there are experts and `moe_intermediate_size` is
    /// left out).
    pub intermediate_size: u32,
    /// Tokens of the vocabulary.
    pub vocab_size: u32,
    /// Experts of a layer; 0: a dense model.
    #[serde(default, alias = "num_local_experts", alias = "n_routed_experts")]
    pub num_experts: u32,
    /// Experts that work for one token.
    #[serde(default)]
    pub num_experts_per_tok: u32,
    /// Width of an expert.
    #[serde(default)]
    pub moe_intermediate_size: Option<u32>,
    /// Bytes of a weight.
    #[serde(default = "two")]
    pub weight_bytes: f64,
    /// Bytes of a key's or value's element.
    #[serde(default = "two")]
    pub kv_bytes: f64,
}

/// What can really be had of a GPU, not what its data sheet says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// Gigabytes (10^9) a second from memory.
    pub bandwidth_gbs: f64,
    /// 10^12 floating-point operations a second in matrix products.
    pub tflops: f64,
    /// Milliseconds of each step beside the rest: launches, sampling, results.
    #[serde(default)]
    pub overhead_ms: f64,
    /// GPUs that share each layer (tensor parallel). What they tell each other is not in the model: put it into
    /// `overhead_ms`.
    #[serde(default = "one")]
    pub count: u32,
}

impl Roofline {
    pub(super) fn validate(&self) -> Result<()> {
        let model = &self.model;
        let counts = [
            ("num_hidden_layers", model.num_hidden_layers),
            ("hidden_size", model.hidden_size),
            ("num_attention_heads", model.num_attention_heads),
            ("num_key_value_heads", model.kv_heads()),
            ("head_dim", model.head_dim()),
            ("intermediate_size", model.ffn()),
            ("vocab_size", model.vocab_size),
        ];
        if let Some((name, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(Error::setting(format!("cost.model.{name}"), "is 0: it must be at least 1"));
        }
        if model.num_experts > 0 && !(1..=model.num_experts).contains(&model.num_experts_per_tok) {
            let reason = format!("must be from 1 to num_experts ({})", model.num_experts);
            return Err(Error::setting("cost.model.num_experts_per_tok", reason));
        }
        if self.gpu.count == 0 {
            return Err(Error::setting("cost.gpu.count", "is 0: it must be at least 1"));
        }
        not_negative("cost.gpu.overhead_ms", self.gpu.overhead_ms)?;
        let positive = [
            ("cost.gpu.bandwidth_gbs", self.gpu.bandwidth_gbs),
            ("cost.gpu.tflops", self.gpu.tflops),
            ("cost.model.weight_bytes", model.weight_bytes),
            ("cost.model.kv_bytes", model.kv_bytes),
        ];
        match positive.into_iter().find(|(_, value)| !(value.is_finite() && *value > 0.0)) {
            Some((name, value)) => Err(Error::setting(name, format!("is {value}: it must be above 0"))),
            None => Ok(()),
        }
    }

    pub(super) fn ms(&self, shape: &StepShape) -> f64 {
        let (model, gpu) = (&self.model, &self.gpu);
        let tokens = (shape.prefill_tokens + shape.decode_rows) as f64;
        let layers = f64::from(model.num_hidden_layers);
        let head = f64::from(model.vocab_size) * f64::from(model.hidden_size);
        let emitting = shape.emitting_rows as f64;

        let operations = 2.0 * (tokens * layers * model.weights_a_token() + emitting * head);
        let read = layers * model.weights_read(tokens) + if emitting > 0.0 { head } else { 0.0 };
        let products = self.longer(operations, read * model.weight_bytes);

        // A query and a key, and a weight and a value: two multiply-adds for each pair and each number of a head.
        let pairs = (shape.decode_context + shape.prefill_context + shape.prefill_own) as f64;
        let width = f64::from(model.num_attention_heads) * f64::from(model.head_dim());
        let positions = (shape.decode_context + shape.prefill_start) as f64 + tokens;
        let attention = self.longer(4.0 * pairs * width * layers, positions * model.kv_bytes_a_token());
        gpu.overhead_ms + products + attention
    }

    /// Milliseconds of the longer of arithmetic and memory traffic.
    fn longer(&self, operations: f64, bytes: f64) -> f64 {
        let count = f64::from(self.gpu.count);
        let arithmetic = operations / (self.gpu.tflops * 1e9 * count);
        let memory = bytes / (self.gpu.bandwidth_gbs * 1e6 * count);
        arithmetic.max(memory)
    }
}

impl ModelShape {
    fn kv_heads(&self) -> u32 {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    fn head_dim(&self) -> u32 {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    fn ffn(&self) -> u32 {
        self.moe_intermediate_size.unwrap_or(self.intermediate_size)
    }

    /// Weights of one layer's attention.
    fn attention_weights(&self) -> f64 {
        let heads = 2.0 * f64::from(self.num_attention_heads) + 2.0 * f64::from(self.kv_heads());
        f64::from(self.hidden_size) * heads * f64::from(self.head_dim())
    }

    /// Weights of one gated feed-forward part, or of one expert.
    fn ffn_weights(&self) -> f64 {
        3.0 * f64::from(self.hidden_size) * f64::from(self.ffn())
    }

    /// Weights of a layer that one token is multiplied with.
    fn weights_a_token(&self) -> f64 {
        let parts = if self.num_experts == 0 { 1 } else { self.num_experts_per_tok };
        self.attention_weights() + self.ffn_weights() * f64::from(parts)
    }

    /// Weights of a layer that a step of so many tokens reads. Tokens are taken to choose experts independently.
    fn weights_read(&self, tokens: f64) -> f64 {
        if self.num_experts == 0 {
            return self.attention_weights() + self.ffn_weights();
        }
        let experts = f64::from(self.num_experts);
        let unused = libm::pow(1.0 - f64::from(self.num_experts_per_tok) / experts, tokens);
        self.attention_weights() + self.ffn_weights() * experts * (1.0 - unused)
    }

    /// Bytes of the keys and values of one position, over all layers.
    fn kv_bytes_a_token(&self) -> f64 {
        2.0 * f64::from(self.num_hidden_layers)
            * f64::from(self.kv_heads())
            * f64::from(self.head_dim())
            * self.kv_bytes
    }
}

fn one() -> u32 {
    1
}

fn two() -> f64 {
    2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::CostModel;

    /// Llama-3.1-8B on a GPU of 3 TB/s and 800 TFLOP/s.
    fn model() -> CostModel {
        let text = r#"{"version": 1, "kind": "roofline",
            "gpu": {"bandwidth_gbs": 3000, "tflops": 800},
            "model": {"num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
                      "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256,
                      "architectures": ["LlamaForCausalLM"]}}"#;
        serde_json::from_str(text).expect("a cost model")
    }

    fn ms(model: &CostModel, shape: &StepShape) -> f64 {
        model.prepare().expect("a good model").step_ns(shape, false) as f64 * 1e-6
    }

    #[test]
    fn a_decode_step_reads_the_weights_and_a_prefill_computes() {
        let decode = StepShape { decode_rows: 1, decode_context: 1, emitting_rows: 1, ..StepShape::default() };
        // 15.0 GB of weights without the input embedding.
        assert!((ms(&model(), &decode) - 5.0).abs() < 0.05, "{}", ms(&model(), &decode));
        // 100,000 positions of 131,072 bytes more.
        let deep = StepShape { decode_context: 100_001, ..decode };
        let more = ms(&model(), &deep) - ms(&model(), &decode);
        assert!((more - 1e5 * 131_072.0 / 3e9).abs() < 1e-3, "{more}");
        // Twice 6.98e9 weights a token, nothing sampled.
        let prefill = StepShape { prefill_tokens: 8192, ..StepShape::default() };
        let expected = 2.0 * 6.98e9 * 8192.0 / 800e9 + 8192.0 * 131_072.0 / 3e9;
        assert!((ms(&model(), &prefill) / expected - 1.0).abs() < 0.01, "{}", ms(&model(), &prefill));
    }

    #[test]
    fn experts_are_read_as_they_are_needed() {
        let experts = |tokens: u64| {
            let mut model = model();
            let crate::cost::CostKind::Roofline(roofline) = &mut model.kind else { unreachable!() };
            roofline.model.num_experts = 128;
            roofline.model.num_experts_per_tok = 8;
            roofline.model.moe_intermediate_size = Some(768);
            ms(&model, &StepShape { decode_rows: tokens, emitting_rows: 1, ..StepShape::default() })
        };
        // One token reads 8 of 128 experts, 1,000 read them all.
        assert!(experts(1000) > 5.0 * experts(1), "{} {}", experts(1000), experts(1));
        assert!((experts(1000) / experts(900) - 1.0).abs() < 0.05);
    }

    #[test]
    fn a_shape_that_cannot_be_is_refused() {
        let text = serde_json::to_string(&model()).expect("a model can be written");
        for (from, to, expected) in [
            ("\"num_hidden_layers\":32", "\"num_hidden_layers\":0", "cost.model.num_hidden_layers"),
            ("\"tflops\":800.0", "\"tflops\":0", "cost.gpu.tflops"),
            ("\"num_experts\":0", "\"num_experts\":8", "cost.model.num_experts_per_tok"),
        ] {
            assert!(text.contains(from), "{text}");
            let model: CostModel = serde_json::from_str(&text.replace(from, to)).expect("the fields are there");
            let error = model.validate().expect_err("it can't be").to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
