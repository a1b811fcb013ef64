//! Owns: who runs the models, by their stable names.
//! Does not own: how each is spoken to (`server::provider`) or what it charges (`rate`).

crate::text_enum! {
    /// A company or program that runs models.
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

impl Provider {
    /// The name as the provider writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Provider::Anthropic => "Anthropic",
            Provider::OpenAi => "OpenAI",
            Provider::Google => "Google",
            Provider::Groq => "Groq",
            Provider::DeepSeek => "DeepSeek",
            Provider::OpenRouter => "OpenRouter",
            Provider::Together => "Together AI",
            Provider::Ollama => "Ollama",
        }
    }
}
