"""For those who come from DeepSpeech and Coqui STT: their tools, and their commands' names for ours."""
