"""The LSTM of the acoustic model: TensorFlow's operators, ours in C++, and cuDNN's."""
