//! The OpenAI and Azure OpenAI data plane.
