//! Owns: the names of the providers of models.

use crate::text_enum;

text_enum! {
    /// Who runs a model.
    Provider {
        Anthropic = "anthropic",
        OpenAi = "openai",
        Google = "google",
        Groq = "groq",
        DeepSeek = "deepseek",
        OpenRouter = "openrouter",
        Together = "together",
        Ollama = "ollama",
    }
}
